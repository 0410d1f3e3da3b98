//! A storage that records what it is sent and answers what it is told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a handler gets: the request's head as it came, and the connection to answer on.
pub type Handler = dyn Fn(&str, &mut TcpStream) + Send + Sync;

/// A stub storage on a free port. It lives as long as the test process.
pub struct Origin {
    pub address: SocketAddr,
    requests: Arc<Mutex<VecDeque<String>>>,
    connections: Arc<Mutex<usize>>,
}

impl Origin {
    /// Answers every request with `handler`, one at a time on each connection.
    pub fn start(handler: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(VecDeque::new()));
        let connections = Arc::new(Mutex::new(0));
        let (recorded, counted): (Arc<Mutex<VecDeque<String>>>, Arc<Mutex<usize>>) =
            (Arc::clone(&requests), Arc::clone(&connections));
        let handler: Arc<Handler> = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                *counted.lock().expect("no panic") += 1;
                let (recorded, handler) = (Arc::clone(&recorded), Arc::clone(&handler));
                std::thread::spawn(move || serve(stream, &recorded, &*handler));
            }
        });
        Origin { address, requests, connections }
    }

    /// Answers every request with the same bytes.
    pub fn constant(response: impl Into<Vec<u8>>) -> Origin {
        let response = response.into();
        Origin::start(move |_, stream| {
            let _ = stream.write_all(&response);
        })
    }

    /// The heads of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").iter().cloned().collect()
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        *self.connections.lock().expect("no panic")
    }
}

fn serve(stream: TcpStream, recorded: &Mutex<VecDeque<String>>, handler: &Handler) {
    let Ok(read) = stream.try_clone() else { return };
    let (mut reader, mut writer) = (BufReader::new(read), stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match reader.read_line(&mut head) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        recorded.lock().expect("no panic").push_back(head.clone());
        handler(&head, &mut writer);
    }
}
