//! A store that speaks just enough S3 and ignores conditions: every put succeeds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
struct Content {
    objects: BTreeMap<String, Vec<u8>>,
    conditional_puts: usize,
}

/// A running one; its threads end with the process.
#[derive(Debug)]
pub(crate) struct CarelessStore {
    port: u16,
    content: Arc<Mutex<Content>>,
}

impl CarelessStore {
    /// Starts it, empty.
    pub(crate) fn start() -> CarelessStore {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let content = Arc::new(Mutex::new(Content::default()));
        let shared = content.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = shared.clone();
                // A client that goes away ends its thread.
                std::thread::spawn(move || while serve(&client, &shared).is_some() {});
            }
        });
        CarelessStore { port, content }
    }

    /// Its address.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Puts with `If-None-Match` so far.
    pub(crate) fn conditional_puts(&self) -> usize {
        self.content.lock().unwrap().conditional_puts
    }
}

/// Serves one request; `None` once the client is gone.
fn serve(mut client: &TcpStream, content: &Mutex<Content>) -> Option<()> {
    let mut reader = BufReader::new(client);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let named = |line: &&String| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        head.iter().find(named).map(|line| line[name.len() + 1..].trim().to_owned())
    };
    if header("expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let length = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (method, target) = head.first()?.split_once(' ')?;
    let target = target.split(' ').next()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut content = content.lock().unwrap();
    content.conditional_puts += usize::from(method == "PUT" && header("if-none-match").is_some());
    let (status, answer) = match method {
        "PUT" => {
            content.objects.insert(path.to_owned(), body);
            ("200 OK", Vec::new())
        }
        "DELETE" => {
            content.objects.remove(path);
            ("204 No Content", Vec::new())
        }
        "GET" if query.contains("list-type=2") || query.contains("uploads") => {
            let name =
                if query.contains("uploads") { "ListMultipartUploadsResult" } else { "ListBucketResult" };
            ("200 OK", format!("<{name}><IsTruncated>false</IsTruncated></{name}>").into_bytes())
        }
        _ => match content.objects.get(path) {
            Some(object) => ("200 OK", object.clone()),
            None => ("404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
        },
    };
    let sent = if method == "HEAD" { &[][..] } else { &answer };
    write!(client, "HTTP/1.1 {status}\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n", answer.len()).ok()?;
    client.write_all(sent).ok()
}
