//! What this node remembers of container networks, across restarts of everything.

use anyhow::Context as _;
use tombolo_containers::situation::Memory;

use crate::state_dir::generations::Generations;

/// The memory and the file that holds it.
#[derive(Debug)]
pub(super) struct Remembered {
    file: Generations,
    memory: Memory,
}

impl Remembered {
    /// A damaged file counts as none: what Docker's labels do not say can be said again with `node docker publish`.
    pub(super) fn load(file: Generations) -> Self {
        let stored = file.load().ok().flatten();
        let memory = stored.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            file,
            memory: memory.unwrap_or_default(),
        }
    }

    pub(super) const fn get(&self) -> &Memory {
        &self.memory
    }

    /// Changes the memory; it is on disk before anything is done about it.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Memory)) -> anyhow::Result<()> {
        let mut next = self.memory.clone();
        change(&mut next);
        if next == self.memory {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&next).context("Failed to encode")?;
        self.file
            .store(&bytes)
            .context("Failed to write what is published to the state directory")?;
        self.memory = next;
        Ok(())
    }
}
