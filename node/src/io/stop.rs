//! Waiting for a descriptor, with a way to end the wait from another thread.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

/// What a thread was waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Something to read.
    Readable,
    /// Room to write.
    Writable,
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Woken {
    /// The descriptor is ready, or broken: the next call on it tells.
    Ready,
    /// The thread is asked to end.
    Stop,
}

/// Asks threads to end, once and for ever.
#[derive(Debug)]
pub struct Stop(OwnedFd);

impl Stop {
    /// Not raised yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(
            0,
            EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
        )?))
    }

    /// From now on every wait ends at once.
    pub fn raise(&self) {
        // It can only fail when the counter is full, and then it is raised already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Blocks until `fd` is ready or somebody raised this.
    pub fn wait(&self, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<Woken> {
        let wanted = match interest {
            Interest::Readable => PollFlags::IN,
            Interest::Writable => PollFlags::OUT,
        };
        let mut fds = [
            PollFd::from_borrowed_fd(fd, wanted),
            PollFd::new(&self.0, PollFlags::IN),
        ];
        loop {
            match poll(&mut fds, None) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let [_, stop] = fds;
        Ok(if stop.revents().is_empty() {
            Woken::Ready
        } else {
            Woken::Stop
        })
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
