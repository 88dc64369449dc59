//! A Docker engine that only talks: the part of the Engine API that a node uses, for versions that cannot be installed here.
//! It refuses what the real one refuses, and remembers what it was asked.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

/// What engine it is.
#[derive(Debug, Clone)]
pub struct EngineKind {
    /// Such as `29.0.0`.
    pub version: &'static str,
    /// Newest and oldest version of its API, both 1.something.
    pub api: (u32, u32),
    /// What it filters with, where it says so.
    pub firewall: Option<&'static str>,
    /// Runs as an ordinary user.
    pub rootless: bool,
}

/// A running fake.
#[derive(Debug)]
pub struct FakeEngine {
    socket: PathBuf,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    networks: Vec<Value>,
    asked: Vec<String>,
    listeners: Vec<UnixStream>,
    refused: Option<String>,
}

impl FakeEngine {
    /// Listens at a path.
    ///
    /// # Panics
    /// When the path is taken.
    #[must_use]
    pub fn start(socket: &Path, kind: EngineKind) -> Self {
        let _ = fs::remove_file(socket);
        let listener = UnixListener::bind(socket).expect("a free path");
        let memory = Arc::new(Mutex::new(Memory::default()));
        let shared = Arc::clone(&memory);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kind, memory) = (kind.clone(), Arc::clone(&shared));
                thread::spawn(move || serve(stream, &kind, &memory));
            }
        });
        Self {
            socket: socket.to_owned(),
            memory,
        }
    }

    /// Adds a network as if somebody had made it, and says so to whoever listens.
    ///
    /// # Panics
    /// Never: no test panics while it holds the lock.
    pub fn add(&self, network: Value) {
        let mut memory = self.memory.lock().expect("not poisoned");
        memory.add(network);
    }

    /// Refuses to make a network of this name from now on.
    ///
    /// # Panics
    /// Never: no test panics while it holds the lock.
    pub fn refuse(&self, name: &str) {
        self.memory.lock().expect("not poisoned").refused = Some(name.to_owned());
    }

    /// A network by its name, as it was asked for.
    ///
    /// # Panics
    /// Never: no test panics while it holds the lock.
    #[must_use]
    pub fn network(&self, name: &str) -> Option<Value> {
        let memory = self.memory.lock().expect("not poisoned");
        memory
            .networks
            .iter()
            .find(|network| network["Name"] == name)
            .cloned()
    }

    /// All paths that were asked for.
    ///
    /// # Panics
    /// Never: no test panics while it holds the lock.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.memory.lock().expect("not poisoned").asked.clone()
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
        // Whoever listens to events sees that it is gone.
        if let Ok(mut memory) = self.memory.lock() {
            memory.listeners.clear();
        }
    }
}

impl Memory {
    fn add(&mut self, network: Value) {
        self.networks.push(network);
        let event = "{\"Type\":\"network\"}\n";
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        self.listeners
            .retain_mut(|listener| listener.write_all(chunk.as_bytes()).is_ok());
    }
}

fn serve(stream: UnixStream, kind: &EngineKind, memory: &Mutex<Memory>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let Some((method, path, body)) = read_request(&mut reader) else {
        return;
    };
    let mut memory = memory.lock().expect("not poisoned");
    memory.asked.push(path.clone());
    let (status, answer) = match versioned(&path, kind) {
        Ok("/events") => {
            let mut stream = stream;
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            if stream.write_all(head.as_bytes()).is_ok() {
                memory.listeners.push(stream);
            }
            return;
        }
        Ok(path) => answer(&method, path, body, kind, &mut memory),
        Err(message) => (400, json!({ "message": message })),
    };
    let text = if status == 204 {
        String::new()
    } else {
        answer.to_string()
    };
    let mut stream = stream;
    // Whoever asked may have gone away.
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
}

fn read_request(reader: &mut BufReader<UnixStream>) -> Option<(String, String, Value)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((
        method,
        path,
        serde_json::from_slice(&body).unwrap_or_default(),
    ))
}

/// The path without its version, if the engine speaks that version.
fn versioned<'p>(path: &'p str, kind: &EngineKind) -> Result<&'p str, String> {
    let path = path.split('?').next().unwrap_or(path);
    let Some(rest) = path.strip_prefix("/v1.") else {
        return Ok(path);
    };
    let (minor, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let minor: u32 = minor.parse().unwrap_or(0);
    let (newest, oldest) = kind.api;
    if minor > newest {
        return Err(format!(
            "client version 1.{minor} is too new. Maximum supported API version is 1.{newest}"
        ));
    }
    if minor < oldest {
        return Err(format!(
            "client version 1.{minor} is too old. Minimum supported API version is 1.{oldest}"
        ));
    }
    Ok(rest)
}

fn answer(
    method: &str,
    path: &str,
    mut body: Value,
    kind: &EngineKind,
    memory: &mut Memory,
) -> (u16, Value) {
    let by_id = path.strip_prefix("/networks/");
    match (method, path) {
        ("GET", "/version") => {
            let (newest, oldest) = kind.api;
            let said = json!({"Version": kind.version, "ApiVersion": format!("1.{newest}"), "MinAPIVersion": format!("1.{oldest}")});
            (200, said)
        }
        ("GET", "/info") => {
            let options = if kind.rootless {
                vec!["name=rootless"]
            } else {
                vec!["name=seccomp,profile=default"]
            };
            let mut said = json!({"ServerVersion": kind.version, "SecurityOptions": options});
            if let Some(driver) = kind.firewall {
                said["FirewallBackend"] = json!({"Driver": driver});
            }
            (200, said)
        }
        ("GET", "/networks") => (200, Value::Array(memory.networks.clone())),
        ("POST", "/networks/create") if body["Name"].as_str() == memory.refused.as_deref() => {
            (500, json!({"message": "not today"}))
        }
        ("POST", "/networks/create") => {
            let id = format!("{:064x}", memory.networks.len() + 1);
            body["Id"] = json!(id);
            memory.add(body);
            (201, json!({"Id": id, "Warning": ""}))
        }
        _ => match by_id.and_then(|id| {
            memory
                .networks
                .iter()
                .position(|network| network["Id"] == id)
        }) {
            Some(at) if method == "DELETE" => {
                memory.networks.remove(at);
                (204, Value::Null)
            }
            Some(at) => (200, memory.networks[at].clone()),
            None => (404, json!({"message": "page not found"})),
        },
    }
}
