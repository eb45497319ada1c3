//! An HTTP server that writes down what it is asked and says yes to everything.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// Answers until the process ends.
pub struct Recorder {
    pub address: String,
    requests: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Recorder {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address").to_string();
        let requests = Arc::<Mutex<Vec<Vec<String>>>>::default();
        let record = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let record = record.clone();
                thread::spawn(move || serve(&stream, &record));
            }
        });
        Self { address, requests }
    }

    /// Every request as its lines, the names of headers in lower case.
    pub fn requests(&self) -> Vec<Vec<String>> {
        self.requests.lock().expect("lock").clone()
    }
}

fn serve(stream: &TcpStream, record: &Mutex<Vec<Vec<String>>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let head: Vec<_> = reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let Some(request) = head.first().cloned() else { return };
        let lower = |line: &String| {
            line.split_once(": ").map_or(line.clone(), |(name, value)| format!("{}: {value}", name.to_lowercase()))
        };
        let head: Vec<_> = head.iter().map(lower).collect();
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).expect("read body");
        record.lock().expect("lock").push(head);
        let body = answer(&request);
        let text = format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        (&*stream).write_all(text.as_bytes()).expect("answer");
    }
}

fn answer(request: &str) -> &'static str {
    if request.starts_with("PUT") {
        "<CopyObjectResult><ETag>1</ETag></CopyObjectResult>"
    } else if request.contains("list-type=2") {
        "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    } else {
        ""
    }
}
