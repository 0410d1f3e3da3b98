-- The gate's job, written by hand for nginx's Lua: as quick as it can be made without a library for each part. Hashes are
-- OpenSSL's, with the state that a key leads to kept; the storage's signing key is kept for its day.
local bit = require("bit")
local cjson = require("cjson.safe")
local ffi = require("ffi")
local base64 = require("ngx.base64")
require("resty.core")

ffi.cdef([[
typedef struct { unsigned int h[8]; unsigned int nl, nh; unsigned int data[16]; unsigned int num, md_len; } SHA256_CTX;
int SHA256_Init(SHA256_CTX *c);
int SHA256_Update(SHA256_CTX *c, const void *data, size_t len);
int SHA256_Final(unsigned char *md, SHA256_CTX *c);
int CRYPTO_memcmp(const void *a, const void *b, size_t len);
]])
local crypto = ffi.load("libcrypto.so.3")
local SIZE = ffi.sizeof("SHA256_CTX")
local scratch, digest = ffi.new("SHA256_CTX"), ffi.new("unsigned char[32]")

local function sha256(text)
  crypto.SHA256_Init(scratch)
  crypto.SHA256_Update(scratch, text, #text)
  crypto.SHA256_Final(digest, scratch)
  return ffi.string(digest, 32)
end

-- HMAC with a key: the two states that it begins with.
local function keyed(key)
  if #key > 64 then
    key = sha256(key)
  end
  local function state(pad)
    local block = {}
    for at = 1, 64 do
      block[at] = string.char(bit.bxor(key:byte(at) or 0, pad))
    end
    local begun = ffi.new("SHA256_CTX")
    crypto.SHA256_Init(begun)
    crypto.SHA256_Update(begun, table.concat(block), 64)
    return begun
  end
  return { state(0x36), state(0x5c) }
end

-- Leaves the code in `digest`.
local function hmac(states, text)
  ffi.copy(scratch, states[1], SIZE)
  crypto.SHA256_Update(scratch, text, #text)
  crypto.SHA256_Final(digest, scratch)
  ffi.copy(scratch, states[2], SIZE)
  crypto.SHA256_Update(scratch, digest, 32)
  crypto.SHA256_Final(digest, scratch)
end

local DIGITS = {}
for byte = 0, 255 do
  DIGITS[byte] = string.format("%02x", byte)
end
local parts = {}
local function hex()
  for at = 0, 31 do
    parts[at + 1] = DIGITS[digest[at]]
  end
  return table.concat(parts, "", 1, 32)
end

local function content(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return (text:gsub("\n$", ""))
end

local gate = {}
local token_key, s3_id, s3_secret
local revoked, headers = {}, {}

function gate.configure(dir)
  token_key = keyed(content(dir .. "/k1.key"))
  s3_id, s3_secret = content(dir .. "/s3.id"), content(dir .. "/s3.key")
  for uid in io.lines(dir .. "/gone.txt") do
    revoked[uid] = true
  end
end

local signing_key, day, second, stamp, before
-- What is the same within a second: the query up to the signature, and what stands before the canonical request's hash.
local query, to_sign
local function at_second(now)
  stamp = os.date("!%Y%m%dT%H%M%SZ", now)
  local today = stamp:sub(1, 8)
  local scope = today .. "/us-east-1/s3/aws4_request"
  if today ~= day then
    local key = "AWS4" .. s3_secret
    for _, part in ipairs({ today, "us-east-1", "s3", "aws4_request" }) do
      hmac(keyed(key), part)
      key = ffi.string(digest, 32)
    end
    signing_key, day = keyed(key), today
  end
  query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" .. s3_id .. "%2F" .. scope:gsub("/", "%%2F")
    .. "&X-Amz-Date=" .. stamp .. "&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
  to_sign = "AWS4-HMAC-SHA256\n" .. stamp .. "\n" .. scope .. "\n"
  second = now
end

-- The claims of a token whose signature holds.
local function verified(compact)
  local first = compact:find(".", 1, true)
  local last = first and compact:find(".", first + 1, true)
  if not last then
    return nil
  end
  -- The header is one of a handful.
  local head = compact:sub(1, first - 1)
  local is_ours = headers[head]
  if is_ours == nil then
    local header = cjson.decode(base64.decode_base64url(head) or "")
    is_ours = type(header) == "table" and header.alg == "HS256" and header.kid == "k1" and header.crit == nil
    if is_ours then
      headers[head] = true
    end
  end
  if not is_ours then
    return nil
  end
  local signature = base64.decode_base64url(compact:sub(last + 1))
  if not signature or #signature ~= 32 then
    return nil
  end
  hmac(token_key, compact:sub(1, last - 1))
  if crypto.CRYPTO_memcmp(digest, signature, 32) ~= 0 then
    return nil
  end
  local claims = cjson.decode(base64.decode_base64url(compact:sub(first + 1, last - 1)) or "")
  return type(claims) == "table" and claims or nil
end

function gate.check()
  local args = ngx.var.args
  local compact = args and args:match("^fat=([^&]+)$")
  local claims = compact and verified(compact)
  local now = ngx.time()
  if not claims or type(claims.exp) ~= "number" or now >= claims.exp or claims.app ~= "acme" then
    return ngx.exit(401)
  end
  if type(claims.sub) ~= "string" or revoked[claims.sub] then
    return ngx.exit(403)
  end
  local uri = ngx.var.uri
  if uri:sub(1, 6) ~= "/acme/" then
    return ngx.exit(403)
  end
  if now ~= second then
    at_second(now)
  end
  local path = "/media" .. ngx.escape_uri(uri, 0):gsub("%%2F", "/")
  local canonical = "GET\n" .. path .. "\n" .. query .. "\nhost:127.0.0.1:9101\n\nhost\nUNSIGNED-PAYLOAD"
  sha256(canonical)
  hmac(signing_key, to_sign .. hex())
  ngx.var.target = path .. "?" .. query .. "&X-Amz-Signature=" .. hex()
end

return gate
