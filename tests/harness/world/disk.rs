//! What survives a node: a few generations of what it knows of its networks, newest last.

use std::collections::VecDeque;

use tombolo_engine::membership::Directory;

/// Generations that are kept: a real disk has two, a restored backup may be older.
const GENERATIONS: usize = 4;

/// When a node dies that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Nothing is written, and nothing was done about it.
    BeforeWriting,
    /// It is written, and nothing was done about it.
    AfterWriting,
}

/// One generation.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    number: u64,
    pub(super) directories: Vec<Directory>,
    pub(super) is_denied: bool,
    pub(super) said: u64,
}

/// The disk.
#[derive(Debug, Default)]
pub struct Disk {
    generations: VecDeque<Kept>,
    written: u64,
}

impl Disk {
    /// The number of the newest generation; 0 if there is none.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.generations.back().map_or(0, |kept| kept.number)
    }

    /// Loses the newest generations, as many as asked but the last one there is.
    pub fn lose(&mut self, count: usize) {
        let left = self.generations.len().saturating_sub(count).max(1);
        self.generations.truncate(left);
    }

    pub(super) fn write(&mut self, directories: Vec<Directory>, is_denied: bool, said: u64) -> u64 {
        self.written += 1;
        self.generations.push_back(Kept {
            number: self.written,
            directories,
            is_denied,
            said,
        });
        if self.generations.len() > GENERATIONS {
            self.generations.pop_front();
        }
        self.written
    }

    /// What is read back: every signature is checked again.
    pub(super) fn read(&self) -> Option<Kept> {
        let kept = self.generations.back()?;
        let directories = kept
            .directories
            .iter()
            .filter_map(|held| Directory::decode(held.network(), held.root(), &held.encode()).ok())
            .collect();
        Some(Kept {
            directories,
            ..kept.clone()
        })
    }
}
