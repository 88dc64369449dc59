//! A wide-area network between a host and its switch: this program carries every Ethernet frame between two TAP devices,
//! and delays, loses, doubles, reorders, garbles, throttles or swallows it on the way. What it does may be changed at any
//! moment, for each direction by itself. Needs nothing of the kernel but TUN/TAP.

mod quality;

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::netns::Namespace;
pub use quality::{Quality, Shaper};

/// Longest wait for a frame, so that changes and the end are noticed.
const PATIENCE: Duration = Duration::from_millis(20);
/// Room for the longest frame that a TAP device without offload gives.
const LONGEST_FRAME: usize = 65_536;

/// One emulated line. It is gone when this is dropped, and the host's interface with it.
#[derive(Debug)]
pub struct Wan {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// From the host, and towards it.
    qualities: Mutex<[Quality; 2]>,
    is_over: AtomicBool,
}

impl Wan {
    /// Makes a line: `outer` becomes a port of the bridge `br0` in `switch`, `interface` appears in `host`. It begins
    /// perfect; its accidents follow from `seed`.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    #[must_use]
    pub fn lay(
        switch: &Namespace,
        outer: &str,
        host: &Namespace,
        interface: &str,
        seed: u64,
    ) -> Self {
        let tap = |name: &str| {
            DeviceBuilder::new()
                .name(name)
                .layer(Layer::L2)
                .inherit_enable_state()
                .build_sync()
                .expect("a TAP device")
        };
        let inner = format!("{outer}i");
        let taps = switch.within(|| [tap(&inner), tap(outer)]);
        switch.run(&format!(
            "ip link set {inner} netns {} name {interface}",
            host.name()
        ));
        switch.run(&format!("ip link set {outer} master br0 up"));
        host.run(&format!("ip link set {interface} up"));
        for tap in &taps {
            tap.set_nonblocking(true).expect("the device is open");
        }
        let shared = Arc::new(Shared {
            qualities: Mutex::new([Quality::PERFECT; 2]),
            is_over: AtomicBool::new(false),
        });
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || carry(&taps, &shared, seed)
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// From now on both directions are like this.
    ///
    /// # Panics
    /// When the emulator has.
    pub fn set(&self, quality: Quality) {
        *self.qualities() = [quality; 2];
    }

    /// From now on what the host sends fares like this.
    ///
    /// # Panics
    /// When the emulator has.
    pub fn set_outbound(&self, quality: Quality) {
        self.qualities()[0] = quality;
    }

    /// From now on what the host gets has fared like this.
    ///
    /// # Panics
    /// When the emulator has.
    pub fn set_inbound(&self, quality: Quality) {
        self.qualities()[1] = quality;
    }

    /// Cuts the line, or mends it. The interfaces on both sides notice nothing.
    ///
    /// # Panics
    /// When the emulator has.
    pub fn cut(&self, is_cut: bool) {
        for quality in self.qualities().iter_mut() {
            quality.is_cut = is_cut;
        }
    }

    fn qualities(&self) -> std::sync::MutexGuard<'_, [Quality; 2]> {
        self.shared.qualities.lock().expect("nobody panics in here")
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Until told to end.
fn carry(taps: &[SyncDevice; 2], shared: &Shared, seed: u64) {
    let mut shapers = [Shaper::new(seed), Shaper::new(seed ^ u64::MAX)];
    let mut buffer = vec![0; LONGEST_FRAME];
    while !shared.is_over.load(Relaxed) {
        let due = shapers.iter().filter_map(Shaper::poll_timeout).min();
        let now = Instant::now();
        let wait = due.map_or(PATIENCE, |at| at.saturating_duration_since(now));
        wait_readable(taps, wait.min(PATIENCE));
        let qualities = *shared.qualities.lock().expect("nobody panics in here");
        let [host, switch] = taps;
        let [outbound, inbound] = &mut shapers;
        let lines = [(host, switch, outbound), (switch, host, inbound)];
        for ((from, to, shaper), quality) in lines.into_iter().zip(&qualities) {
            let now = Instant::now();
            while let Ok(length) = from.recv(&mut buffer) {
                shaper.take(&buffer[..length], quality, now);
            }
            while let Some(frame) = shaper.poll(Instant::now()) {
                // An interface that is down takes nothing: no more does a cable that is out.
                let _ = to.send(&frame);
            }
        }
    }
}

fn wait_readable(taps: &[SyncDevice; 2], wait: Duration) {
    let mut fds = taps.each_ref().map(|tap| PollFd::new(tap, PollFlags::IN));
    let wait = Timespec::try_from(wait).expect("a short time");
    match poll(&mut fds, Some(&wait)) {
        Ok(_) => {}
        Err(error) => assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Interrupted),
    }
    // A device whose interface is down says that it has an error, at once and for ever.
    if fds.iter().any(|fd| fd.revents().contains(PollFlags::ERR)) {
        thread::sleep(Duration::from_millis(1));
    }
}
