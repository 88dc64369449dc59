//! A file in two generations. A write replaces the older one whole, so a crash at any moment, a full disk or a bad
//! sector leaves at least one good copy.
//!
//! Each copy is `magic | generation u64 | length u64 | SHA-256 of the contents | contents`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

const MAGIC: [u8; 8] = *b"TMBGEN1\n";
const HEADER: usize = 8 + 8 + 8 + 32;

/// The two copies of one file, `<name>.0` and `<name>.1`.
#[derive(Debug)]
pub struct Generations {
    name: PathBuf,
}

/// Every copy that exists is damaged.
#[derive(Debug, thiserror::Error)]
#[error("damaged: {0}")]
pub struct Damaged(PathBuf);

impl Generations {
    /// `name` is the path without the generation's number.
    #[must_use]
    pub const fn new(name: PathBuf) -> Self {
        Self { name }
    }

    /// The newest whole copy; `None` if nothing was ever stored.
    pub fn load(&self) -> Result<Option<Vec<u8>>, Damaged> {
        let newest = self.load_all().into_iter().next();
        if newest.is_none() && [0, 1].iter().any(|slot| self.path(*slot).exists()) {
            return Err(Damaged(self.path(0)));
        }
        Ok(newest)
    }

    /// Every whole copy, newest first: for contents that can be wrong beyond what a checksum tells. A damaged one is mended.
    #[must_use]
    pub fn load_all(&self) -> Vec<Vec<u8>> {
        let mut copies = Vec::new();
        let mut damaged = false;
        for path in [0, 1].map(|slot| self.path(slot)) {
            match read(&path) {
                Some(copy) => copies.push(copy),
                None if path.exists() => {
                    damaged = true;
                    tracing::warn!(
                        "{} is damaged: the other copy is used, if there is one",
                        path.display()
                    );
                }
                None => {}
            }
        }
        copies.sort_by_key(|(generation, _)| std::cmp::Reverse(*generation));
        let copies: Vec<_> = copies.into_iter().map(|(_, contents)| contents).collect();
        if damaged
            && let Some(newest) = copies.first()
            && let Err(error) = self.store(newest)
        {
            tracing::warn!("{} cannot be mended: {error}", self.name.display());
        }
        copies
    }

    /// Replaces the older copy. When this returns, the contents survive a power cut; when it fails, the newest copy is
    /// untouched.
    pub fn store(&self, contents: &[u8]) -> io::Result<()> {
        let generations =
            [0, 1].map(|slot| read(&self.path(slot)).map(|(generation, _)| generation));
        let (slot, generation) = match generations {
            [None, newest] => (0, newest.map_or(0, |newest| newest + 1)),
            [Some(newest), None] => (1, newest + 1),
            [Some(zero), Some(one)] => (u8::from(zero > one), zero.max(one) + 1),
        };
        let digest: [u8; 32] = Sha256::digest(contents).into();
        let length = contents.len() as u64;
        let header = [
            &MAGIC[..],
            &generation.to_be_bytes(),
            &length.to_be_bytes(),
            &digest,
        ]
        .concat();
        replace(&self.path(slot), &[&header, contents])
    }

    /// Removes both copies.
    pub fn remove(&self) -> io::Result<()> {
        for slot in [0, 1] {
            match fs::remove_file(self.path(slot)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, slot: u8) -> PathBuf {
        self.name.with_extension(slot.to_string())
    }
}

/// Writes a file so that it is either the old or the new one, never half of it: temporary file, fsync, rename, fsync of
/// the directory.
pub fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let written = write_synced(&temporary, parts).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // On a full disk the half-written file would only make things worse.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn write_synced(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

fn read(path: &Path) -> Option<(u64, Vec<u8>)> {
    let bytes = fs::read(path).ok()?;
    let (header, contents) = bytes.split_at_checked(HEADER)?;
    let rest = header.strip_prefix(&MAGIC)?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (length, digest) = rest.split_first_chunk::<8>()?;
    let is_whole = u64::from_be_bytes(*length) == contents.len() as u64
        && *digest == *Sha256::digest(contents);
    is_whole.then(|| (u64::from_be_bytes(*generation), contents.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_copy_is_read_back() {
        let (_dir, file) = a_file();
        assert_eq!(file.load().expect("no damage"), None);

        for contents in ["one", "two", "three"] {
            file.store(contents.as_bytes())
                .expect("a writable directory");
            assert_eq!(
                file.load().expect("no damage").as_deref(),
                Some(contents.as_bytes())
            );
        }
    }

    #[test]
    fn a_newest_copy_that_is_cut_at_any_byte_gives_the_older_one_and_is_mended() {
        let (_dir, file) = a_file();
        file.store(b"older").expect("a writable directory");
        file.store(b"newer").expect("a writable directory");
        let whole = fs::read(file.path(1)).expect("the copy");

        for length in 0..whole.len() {
            fs::write(file.path(1), &whole[..length]).expect("a writable directory");
            assert_eq!(
                file.load().expect("one good copy").as_deref(),
                Some(&b"older"[..])
            );
            assert_eq!(file.load_all().len(), 2);
        }

        file.store(b"newest").expect("a writable directory");
        assert_eq!(
            file.load().expect("no damage").as_deref(),
            Some(&b"newest"[..])
        );
    }

    #[test]
    fn two_damaged_copies_are_an_error_and_not_an_absence() {
        let (_dir, file) = a_file();
        file.store(b"older").expect("a writable directory");
        file.store(b"newer").expect("a writable directory");

        truncate(&file.path(0));
        truncate(&file.path(1));

        assert!(file.load().is_err());
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let (_dir, file) = a_file();
        file.store(b"contents").expect("a writable directory");
        let mut bytes = fs::read(file.path(0)).expect("the copy");
        *bytes.last_mut().expect("contents") ^= 1;
        fs::write(file.path(0), bytes).expect("a writable directory");

        assert!(file.load().is_err());
    }

    fn a_file() -> (tempfile::TempDir, Generations) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = Generations::new(dir.path().join("thing"));
        (dir, file)
    }

    fn truncate(path: &Path) {
        let file = OpenOptions::new().write(true).open(path).expect("the copy");
        file.set_len(HEADER as u64 + 2).expect("a shorter file");
    }
}
