"""Presigns S3 URLs with AWS's own code, for the tests to compare the gate's with.

Reads JSON lines and answers each with one:

    {"endpoint": "http://127.0.0.1:9000", "region": "us-east-1", "bucket": "media", "key": "a b.png",
     "method": "GET", "access_key": "…", "secret_key": "…", "session_token": null, "expires": 60,
     "date": "20261121T132427Z", "path_style": true}
    {"url": "http://127.0.0.1:9000/media/a%20b.png?X-Amz-Algorithm=…"}

"params" may add what else botocore's GetObject takes, such as {"ResponseContentType": "text/plain"}.
A line that cannot be signed is answered with {"error": "…"}. Encoding, canonical form and signature are all
botocore's; the one thing set here is what it takes for the time.

    python presign.py < requests.jsonl
    python presign.py --check            compares with the example in AWS's documentation
"""

import datetime
import functools
import json
import sys

import botocore.auth
import botocore.config
import botocore.session

METHODS = {"GET": "get_object", "HEAD": "head_object"}

# "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)", Amazon S3 API Reference.
AWS_EXAMPLE = {
    "endpoint": "https://s3.amazonaws.com",
    "region": "us-east-1",
    "bucket": "examplebucket",
    "key": "test.txt",
    "method": "GET",
    "access_key": "AKIAIOSFODNN7EXAMPLE",
    "secret_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "session_token": None,
    "expires": 86400,
    "date": "20130524T000000Z",
    "path_style": False,
}
AWS_EXAMPLE_URL = (
    "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
)


@functools.cache
def session():
    """One session, so that the service model is read once; it looks at no profile of the user."""
    session = botocore.session.Session()
    session.set_config_variable("config_file", "/dev/null")
    session.set_config_variable("credentials_file", "/dev/null")
    return session


@functools.cache
def client(endpoint, region, access_key, secret_key, session_token, path_style):
    return session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=session_token,
        config=botocore.config.Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if path_style else "virtual"},
            # Newer releases would add a checksum parameter that the gate has no use for.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def presign(request):
    now = datetime.datetime.strptime(request["date"], "%Y%m%dT%H%M%SZ")
    # The name that S3SigV4QueryAuth calls, with the naive UTC time that it returns by default.
    botocore.auth.get_current_datetime = lambda: now
    url = client(
        request["endpoint"],
        request["region"],
        request["access_key"],
        request["secret_key"],
        request["session_token"],
        request["path_style"],
    ).generate_presigned_url(
        METHODS[request["method"]],
        Params={"Bucket": request["bucket"], "Key": request["key"], **request.get("params", {})},
        ExpiresIn=request["expires"],
    )
    # A release that reads another clock must not pass for a signature that differs.
    if f"X-Amz-Date={request['date']}&" not in url:
        raise RuntimeError(f"botocore {botocore.__version__} did not sign at the given date")
    return url


def check():
    url = presign(AWS_EXAMPLE)
    if url != AWS_EXAMPLE_URL:
        sys.exit(f"presign: botocore {botocore.__version__} and AWS's documented example differ:\n{url}\n{AWS_EXAMPLE_URL}")
    print(f"presign: botocore {botocore.__version__} signs AWS's documented example as documented")


def main():
    # Keys are Unicode whatever the locale of the machine.
    sys.stdin.reconfigure(encoding="utf-8")
    for line in sys.stdin:
        try:
            answer = {"url": presign(json.loads(line))}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        main()
