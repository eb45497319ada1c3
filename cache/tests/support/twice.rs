//! A proxy whose answers come twice on the same connection, as those of a server that lost count.

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// Listens until the test ends; gives the address. The second copy comes with the first, or `late`: when the client has
/// asked for something else.
pub async fn answer_twice(server: &str, late: bool) -> String {
    let server = server.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, server.clone(), late));
        }
    });
    address
}

/// Passes requests without a body on, one after the other.
async fn serve(client: TcpStream, server: String, late: bool) {
    let (mut client, mut before) = (BufReader::new(client), Vec::new());
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if client.read_line(&mut head).await.unwrap_or_default() == 0 {
                return;
            }
        }
        let answer = ask(&head, &server).await;
        let (first, second) = if late { (&before, &answer) } else { (&answer, &answer) };
        if client.write_all(&[&first[..], &second[..]].concat()).await.is_err() {
            return;
        }
        before = answer;
    }
}

/// Gives the answer as if the connection could be used again.
async fn ask(head: &str, server: &str) -> Vec<u8> {
    let mut upstream = TcpStream::connect(server).await.expect("connect");
    let head = head.trim_end();
    upstream.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).await.expect("ask");
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await.expect("an answer");
    let close = b"connection: close\r\n";
    if let Some(at) = answer.windows(close.len()).position(|part| part == close) {
        answer.drain(at..at + close.len());
    }
    answer
}
