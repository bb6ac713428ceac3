//! A proxy in front of an S3 server that breaks chosen requests.
//!
//! Heads pass unchanged, byte for byte, so signatures (which cover the Host header) stay right. The
//! only exception is `Expect: 100-continue`, which no signature covers: it is answered here.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered here with this status and S3 error code, and never reaches the server.
    Answer(u16, &'static str),
    /// It is done, and its answer is lost: the connection closes instead.
    LoseAnswer,
    /// The connection closes at once; it is never done.
    Cut,
    /// The server gets the first half of the body, then both connections close.
    CutUpload,
    /// It waits this long before it is done and answered.
    Delay(Duration),
    /// The connection closes at once, and the request is done all the same, this much later.
    LandLate(Duration),
}

/// Which requests are broken, how.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `PUT`, `POST` …
    pub method: &'static str,
    /// A part of the path and query.
    pub target: String,
    /// So many matching requests pass first.
    pub after: usize,
    /// So many are broken then.
    pub times: usize,
    /// How.
    pub fault: Fault,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    seen: Vec<String>,
    fired: usize,
    stopped: bool,
}

#[derive(Debug)]
struct Shared {
    upstream: u16,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running proxy on loopback; takes no new connections once dropped.
#[derive(Debug)]
pub struct HttpFaults {
    port: u16,
    shared: Arc<Shared>,
}

impl HttpFaults {
    /// Starts a proxy in front of `upstream`, a port of loopback.
    pub fn start(upstream: u16) -> HttpFaults {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared { upstream, state: Mutex::default() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.state().stopped {
                    return;
                }
                let shared = Arc::clone(&accepting);
                // An error is a closed connection: what these proxies are for.
                thread::spawn(move || serve(&shared, client).ok());
            }
        });
        HttpFaults { port, shared }
    }

    /// Its address, as `http://127.0.0.1:1234`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Adds a rule. Of several that match a request, the oldest with times left acts.
    pub fn add(&self, rule: Rule) {
        self.shared.state().rules.push(rule);
    }

    /// Forgets all rules.
    pub fn clear(&self) {
        self.shared.state().rules.clear();
    }

    /// How many requests were broken.
    pub fn fired(&self) -> usize {
        self.shared.state().fired
    }

    /// Every request so far, as `PUT /bucket/key?query`.
    pub fn seen(&self) -> Vec<String> {
        self.shared.state().seen.clone()
    }
}

impl Drop for HttpFaults {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

/// Serves the requests of one connection, each on a connection of its own to the server.
fn serve(shared: &Shared, client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::new(client.try_clone()?);
    let mut client = client;
    while let Some(mut head) = Head::read(&mut reader)? {
        if head.remove("expect").is_some() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if !serve_one(shared, &head, &mut reader, &mut client)? {
            return client.shutdown(Shutdown::Both);
        }
    }
    Ok(())
}

/// Serves one request; `false` when its connection must close.
fn serve_one(
    shared: &Shared,
    head: &Head,
    reader: &mut impl BufRead,
    client: &mut TcpStream,
) -> io::Result<bool> {
    let framing = head.request_framing();
    let fault = choose(shared, &head.start);
    match fault {
        None => forward(shared, head, &framing, reader, client).map(|()| true),
        Some(Fault::Delay(time)) => {
            thread::sleep(time);
            forward(shared, head, &framing, reader, client).map(|()| true)
        }
        Some(Fault::LoseAnswer) => forward(shared, head, &framing, reader, &mut io::sink()).map(|()| false),
        Some(Fault::Cut) => Ok(false),
        Some(Fault::CutUpload) => {
            let mut server = TcpStream::connect(("127.0.0.1", shared.upstream))?;
            server.write_all(&head.bytes())?;
            if let Framing::Length(length) = framing {
                io::copy(&mut reader.take(length / 2), &mut server)?;
            }
            server.shutdown(Shutdown::Both)?;
            Ok(false)
        }
        Some(Fault::LandLate(time)) => {
            let mut body = Vec::new();
            copy_body(&framing, reader, &mut body)?;
            client.shutdown(Shutdown::Both)?;
            thread::sleep(time);
            forward(shared, head, &Framing::Length(body.len() as u64), &mut &*body, &mut io::sink())?;
            Ok(false)
        }
        Some(Fault::Answer(status, code)) => {
            copy_body(&framing, reader, &mut io::sink())?;
            let body = match head.start.starts_with("HEAD") {
                true => String::new(),
                false => format!(
                    "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>fault</Message></Error>"
                ),
            };
            write!(client, "HTTP/1.1 {status} Fault\r\nContent-Type: application/xml\r\n")?;
            write!(client, "Content-Length: {}\r\n\r\n{body}", body.len())?;
            Ok(true)
        }
    }
}

/// The fault for a request, and the note that it came.
fn choose(shared: &Shared, start: &str) -> Option<Fault> {
    let mut state = shared.state();
    let mut words = start.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    state.seen.push(format!("{method} {target}"));
    let matching =
        |rule: &&mut Rule| rule.times > 0 && rule.method == method && target.contains(&rule.target);
    let rule = state.rules.iter_mut().find(matching)?;
    if rule.after > 0 {
        rule.after -= 1;
        return None;
    }
    rule.times -= 1;
    let fault = rule.fault;
    state.fired += 1;
    Some(fault)
}

/// Sends a request to the server and its whole answer to `client`.
fn forward(
    shared: &Shared,
    head: &Head,
    framing: &Framing,
    body: &mut impl BufRead,
    client: &mut impl Write,
) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", shared.upstream))?;
    server.set_nodelay(true)?;
    server.write_all(&head.bytes())?;
    copy_body(framing, body, &mut server)?;
    let mut answers = BufReader::new(server);
    let answer = Head::read(&mut answers)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    client.write_all(&answer.bytes())?;
    copy_body(&answer.answer_framing(head), &mut answers, client)
}

/// The first line and the headers of a message.
#[derive(Debug)]
struct Head {
    start: String,
    headers: Vec<String>,
}

/// Where a message's body ends (RFC 9112, 6.3).
#[derive(Debug)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Head {
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end_matches(['\r', '\n']).to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let headers = lines.split_off(1.min(lines.len()));
        Ok(lines.pop().map(|start| Head { start, headers }))
    }

    fn place(&self, name: &str) -> Option<usize> {
        let named =
            |line: &String| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.headers.iter().position(named)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers[self.place(name)?].split_once(':')?;
        Some(value.trim())
    }

    fn remove(&mut self, name: &str) -> Option<String> {
        Some(self.headers.remove(self.place(name)?))
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for line in &self.headers {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    fn sized(&self) -> Option<Framing> {
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Some(Framing::Chunked);
        }
        Some(Framing::Length(self.header("content-length")?.parse().ok()?))
    }

    fn request_framing(&self) -> Framing {
        self.sized().unwrap_or(Framing::Length(0))
    }

    fn answer_framing(&self, request: &Head) -> Framing {
        let status = self.start.split(' ').nth(1).unwrap_or_default();
        if request.start.starts_with("HEAD ") || matches!(status, "204" | "304") {
            return Framing::Length(0);
        }
        self.sized().unwrap_or(Framing::UntilClose)
    }
}

/// Copies a body with the marks of its framing.
fn copy_body(framing: &Framing, reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<()> {
    match framing {
        Framing::Length(length) => copy_exactly(reader, writer, *length),
        Framing::UntilClose => io::copy(reader, writer).map(|_| ()),
        Framing::Chunked => loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            writer.write_all(line.as_bytes())?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            if size > 0 {
                copy_exactly(reader, writer, size + 2)?;
                continue;
            }
            // Trailers, up to the empty line.
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                writer.write_all(line.as_bytes())?;
                if line.trim().is_empty() {
                    return Ok(());
                }
            }
        },
    }
}

fn copy_exactly(reader: &mut impl BufRead, writer: &mut impl Write, length: u64) -> io::Result<()> {
    match io::copy(&mut reader.take(length), writer)? == length {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::{self, S3};
    use crate::wait_until;

    fn put(endpoint: &str, key: &str, body: &str) -> String {
        s3::tests::put(endpoint, key, body, false)
    }

    fn rule(after: usize, fault: Fault) -> Rule {
        Rule { method: "PUT", target: "/lake/a".into(), after, times: 1, fault }
    }

    #[test]
    fn chosen_requests_fail_and_others_pass_with_their_signature() {
        let server = S3::start();
        let proxy = HttpFaults::start(server.port());
        proxy.add(rule(1, Fault::Answer(503, "SlowDown")));
        let endpoint = proxy.endpoint();
        assert_eq!(put(&endpoint, "b", "x"), "200");
        assert_eq!(put(&endpoint, "a1", "x"), "200");
        assert_eq!(put(&endpoint, "a2", "x"), "503");
        assert_eq!(put(&endpoint, "a2", "x"), "200");
        proxy.add(rule(0, Fault::Cut));
        assert_eq!(put(&endpoint, "a3", "x"), "000");
        proxy.add(rule(0, Fault::CutUpload));
        assert_eq!(put(&endpoint, "a4", &"x".repeat(100_000)), "000");
        assert_eq!(proxy.fired(), 3);
        assert_eq!(server.objects(), ["a1", "a2", "b"]);
        assert_eq!(proxy.seen()[0], "PUT /lake/b");
    }

    #[test]
    fn a_lost_answer_and_a_late_put_leave_the_object_behind() {
        let server = S3::start();
        let proxy = HttpFaults::start(server.port());
        proxy.add(rule(0, Fault::LoseAnswer));
        assert_eq!(put(&proxy.endpoint(), "a1", "x"), "000");
        assert_eq!(server.objects(), ["a1"]);
        proxy.add(rule(0, Fault::LandLate(Duration::from_secs(3))));
        assert_eq!(put(&proxy.endpoint(), "a2", "x"), "000");
        assert_eq!(server.objects(), ["a1"]);
        let landed = || (server.objects() == ["a1", "a2"]).then_some(());
        wait_until("the late put", Duration::from_secs(60), landed);
    }
}
