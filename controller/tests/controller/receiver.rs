//! Somebody who is told by HTTP: takes messages, and answers as it was told to.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use data_encoding::BASE64;
use ring::hmac;
use serde_json::Value;
use tokio::sync::mpsc;

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(180);

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    messages: mpsc::UnboundedReceiver<Message>,
    answers: Arc<Mutex<VecDeque<String>>>,
}

/// A message as it came.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        Self::on("127.0.0.1:0".parse().expect("an address"))
    }

    pub(crate) fn on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, messages) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(VecDeque::new()));
        let queue = Arc::clone(&answers);
        // Ends with the program: what is sent to it meanwhile is nobody's.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.expect("a connection"));
                let Some(message) = Message::read(&mut reader) else {
                    continue;
                };
                if sender.send(message).is_err() {
                    return;
                }
                let next = queue.lock().expect("no panic").pop_front();
                let head = next.unwrap_or_else(|| "204 No Content".to_owned());
                let answer =
                    format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = reader.get_mut().write_all(answer.as_bytes());
            }
        });
        Self {
            address,
            messages,
            answers,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// How to answer the next message: a status line, perhaps with headers.
    pub(crate) fn answer(&self, head: &str) {
        self.answers
            .lock()
            .expect("no panic")
            .push_back(head.to_owned());
    }

    pub(crate) async fn next(&mut self) -> Message {
        tokio::time::timeout(DEADLINE, self.messages.recv())
            .await
            .expect("a message comes")
            .expect("the receiver runs")
    }

    pub(crate) fn has_more(&mut self) -> bool {
        self.messages.try_recv().is_ok()
    }
}

impl Message {
    fn read(reader: &mut impl std::io::BufRead) -> Option<Self> {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length")?.parse().ok()?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Self {
            headers,
            body: String::from_utf8(body).ok()?,
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// Checks the signature as the specification tells receivers to.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let secret = secret.strip_prefix("whsec_").expect("a secret");
        let secret = BASE64.decode(secret.as_bytes()).expect("base64");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let header = |name: &str| &self.headers[name];
        let signed = format!(
            "{}.{}.{}",
            header("webhook-id"),
            header("webhook-timestamp"),
            self.body
        );
        let Some(tag) = header("webhook-signature").strip_prefix("v1,") else {
            return false;
        };
        let tag = BASE64.decode(tag.as_bytes()).expect("base64");
        hmac::verify(&key, signed.as_bytes(), &tag).is_ok()
    }
}
