//! The `controller` binary on a host of the lab.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{IpAddr, SocketAddr},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use super::{binary, empty_config, identifier, text, verbs::verbs};
use crate::{
    netns::Host,
    process::{Process, wait_for},
};

/// A controller's first start looks for an authority with an address: sixteen hashes of 0.1 s on average, on an idle
/// machine.
const FIRST_START: Duration = Duration::from_secs(120);

/// The port nodes reach a controller at.
const CONTROL_PORT: u16 = 9791;

/// A seed whose identity has an authority address.
const AUTHORITY_SEED: [u8; 32] = [31; 32];

/// The file that a controller's first start leaves in its state directory.
const ADMIN_TOKEN: &str = "admin.token";

/// The `controller` binary on a host.
#[derive(Debug)]
pub struct Controller {
    process: Option<Process>,
    /// Where it runs.
    pub host: Host,
    /// Where it keeps networks and members, if not in a file of its own.
    pub store: Option<String>,
    /// At which of its addresses nodes reach it.
    pub at: IpAddr,
}

verbs!(Controller);

impl Controller {
    /// Starts `controller serve` and waits until it answers. Its authority is one that was found before: looking for an
    /// address that satisfies the memory-hard hash takes seconds, and nothing is learnt from doing it in every test.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start(host: Host) -> Self {
        Self::start_on(host, None)
    }

    /// The same with everything in the store of this URL.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start_on(host: Host, store: Option<&str>) -> Self {
        let mut controller = Self::new(host, store);
        controller.put("authority.key", &AUTHORITY_SEED);
        controller.serve();
        controller
    }

    /// The same, reached at its IPv6 address alone.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start_on_ipv6(host: Host) -> Self {
        let mut controller = Self::new(host, None);
        controller.at = controller.host.v6.into();
        controller.put("authority.key", &AUTHORITY_SEED);
        controller.serve();
        controller
    }

    /// The same, with an authority of its own.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start_fresh(host: Host) -> Self {
        let mut controller = Self::new(host, None);
        controller.serve();
        controller
    }

    /// Another replica on the same store. It waits for admission.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn another(&self, host: Host) -> Self {
        let mut replica = Self::new(host, self.store.as_deref());
        // Any token is good for every replica.
        let token = fs::read(self.state_dir().join(ADMIN_TOKEN)).expect("the first start wrote it");
        replica.put(ADMIN_TOKEN, &token);
        replica.serve();
        replica
    }

    /// One that is not running yet, on a store of its own if none is named.
    #[must_use]
    pub fn new(host: Host, store: Option<&str>) -> Self {
        Self {
            process: None,
            at: host.v4.into(),
            host,
            store: store.map(str::to_owned),
        }
    }

    /// Puts a file into its state directory.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn put(&self, name: &str, contents: &[u8]) {
        fs::create_dir_all(self.state_dir()).expect("the lab's directory is writable");
        let mut file = File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(self.state_dir().join(name))
            .expect("the lab's directory is writable");
        file.write_all(contents)
            .expect("the lab's directory has room");
    }

    /// Where it keeps its state.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.host.dir.join("controller")
    }

    /// Starts it again after [`Self::kill`], on the state it left.
    ///
    /// # Panics
    /// When it does not become ready.
    #[track_caller]
    pub fn serve(&mut self) {
        let address = self.control_address();
        let mut arguments = vec!["serve", "--advertise", &address];
        arguments.extend(self.store.iter().flat_map(|url| ["--store", url]));
        let process = Process::spawn(
            &format!("controller on {}", self.host.name),
            &mut self.command(&arguments),
            &self.host.dir.join("controller.log"),
        );
        self.process = Some(process);
        wait_for("the controller to answer", FIRST_START, || {
            (self.verb(&["network", "ls", "--json"]).code == 0).then_some(())
        });
    }

    /// SIGTERM, and waits for a clean end.
    ///
    /// # Panics
    /// When it does not run, or ends with an error.
    #[track_caller]
    pub fn stop(&mut self) {
        self.process
            .take()
            .expect("the controller runs")
            .terminate();
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.take().expect("the controller runs").kill();
    }

    /// Where nodes reach it.
    #[must_use]
    pub fn control_address(&self) -> String {
        SocketAddr::new(self.at, CONTROL_PORT).to_string()
    }

    /// Creates a network and gives its id.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    #[must_use]
    pub fn create_network(&self, name: &str, v4: &str) -> String {
        let network = self.json(&["network", "create", name, "--v4", v4]);
        text(&network, "/id")
    }

    /// Authorises a node.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn authorize(&self, network: &str, node: &str) {
        self.verb(&["member", "authorize", network, node]).ok();
    }

    /// Deauthorises a node.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn deauthorize(&self, network: &str, node: &str) {
        self.verb(&["member", "deauthorize", network, node]).ok();
    }

    /// Routes a prefix to a member and gives the route's id.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn add_route(&self, network: &str, target: &str, via: &str) -> String {
        let route = self.json(&["route", "add", network, target, "--via", via]);
        identifier(&route)
    }

    /// Removes a route.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn remove_route(&self, network: &str, route: &str) {
        self.verb(&["route", "rm", network, route]).ok();
    }

    /// A command line of the binary, for what the verbs above do not cover.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.namespace.command(binary("controller"));
        command
            .env("TOMBOLO_STATE_DIR", self.state_dir())
            .env("TOMBOLO_CONFIG", empty_config(&self.host.dir, "controller"))
            .args(arguments);
        command
    }
}
