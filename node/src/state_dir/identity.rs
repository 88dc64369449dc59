//! The identity: the node's one secret, and its public key so that damage is noticed. It is kept twice, because nobody
//! else can give it back: a copy that is damaged or gone is written anew from the other.

use std::{fs, io, path::Path};

use anyhow::{Context as _, bail};
use tombolo_proto::{
    address::{self, Cost},
    id::NodeId,
    key::{IdentityKey, Seed},
};

use super::{explain, generations};

const NAMES: [&str; 2] = ["identity", "identity.copy"];

/// Reads the identity, or mines one if there is none. What is damaged is only replaced by a whole copy.
pub(super) fn load_or_make(
    root: &Path,
    draw: impl FnMut() -> [u8; 32],
) -> anyhow::Result<(Seed, NodeId)> {
    let mut texts = Vec::new();
    for name in NAMES {
        texts.push(look(&root.join(name))?);
    }
    if texts.iter().all(Option::is_none) {
        let (seed, node) = address::mine(Cost::Node, draw);
        for name in NAMES {
            store(root, name, &write(&seed, node))?;
        }
        return Ok((seed, node));
    }
    let whole = texts.iter().flatten().find_map(|text| read(text).ok());
    let Some((seed, node)) = whole else {
        bail!(
            "The identity files {} and {} are damaged; restore one from a backup, or delete both to become a new node",
            root.join(NAMES[0]).display(),
            NAMES[1]
        );
    };
    mend(root, &texts, &write(&seed, node));
    Ok((seed, node))
}

/// Makes both copies say the same. The identity is known, so a disk that refuses is no reason not to start.
fn mend(root: &Path, texts: &[Option<String>], right: &str) {
    for (name, text) in NAMES.into_iter().zip(texts) {
        if text.as_deref() == Some(right) {
            continue;
        }
        let path = root.join(name);
        match store(root, name, right) {
            Err(error) => tracing::warn!("{} cannot be mended: {error:#}", path.display()),
            Ok(()) if text.is_some() => {
                tracing::warn!("{} was damaged: mended from its copy", path.display());
            }
            Ok(()) => {}
        }
    }
}

/// What a file says; bytes that are no text count as damage.
fn look(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(explain(path, &error)),
    }
}

fn store(root: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    generations::replace(&root.join(name), &[text.as_bytes()])
        .map_err(|error| explain(root, &error))
}

fn write(seed: &Seed, node: NodeId) -> String {
    let secret: String = seed
        .expose()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let public = seed.identity().public();
    format!(
        "# Secret: whoever has this file is node {node}. Keep a backup.\nseed {secret}\npublic {public}\n"
    )
}

fn read(text: &str) -> anyhow::Result<(Seed, NodeId)> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    };
    let seed = field("seed")
        .and_then(decode_hex)
        .context("The seed is missing or cut short")?;
    let public: IdentityKey = field("public")
        .context("The public key is missing")?
        .parse()?;
    let seed = Seed::from_bytes(seed);
    if seed.identity().public() != public {
        bail!("The seed and the public key do not match");
    }
    let node = address::of(&public, Cost::Node).context("The key has no node address")?;
    Ok((seed, node))
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, position) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(position..position + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_read_ever_after() {
        let dir = tempfile::tempdir().expect("a temporary directory");

        let (made, node) = load_or_make(dir.path(), counting()).expect("a writable directory");
        let (read, again) =
            load_or_make(dir.path(), || panic!("no second identity")).expect("the identity");

        assert_eq!((made.expose(), node), (read.expose(), again));
    }

    #[test]
    fn a_copy_that_is_cut_at_any_byte_or_gone_is_mended_from_the_other() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (made, _) = load_or_make(dir.path(), counting()).expect("a writable directory");
        let text = fs::read(dir.path().join(NAMES[0])).expect("the identity");

        for name in NAMES {
            let path = dir.path().join(name);
            for length in 0..text.len() {
                fs::write(&path, &text[..length]).expect("a writable directory");
                let (read, _) = load_or_make(dir.path(), || panic!("no new identity"))
                    .expect("the other copy is whole");
                assert_eq!(read.expose(), made.expose());
                assert_eq!(fs::read(&path).expect("the file"), text);
            }
            fs::remove_file(&path).expect("the file");
            load_or_make(dir.path(), || panic!("no new identity")).expect("the other copy");
            assert_eq!(fs::read(&path).expect("the file"), text);
        }
    }

    #[test]
    fn two_damaged_copies_are_an_error_and_stay_as_they_are() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        load_or_make(dir.path(), counting()).expect("a writable directory");
        let text = fs::read(dir.path().join(NAMES[0])).expect("the identity");

        // Without the last byte, a line feed, nothing is missing.
        for length in 0..text.len() - 1 {
            for name in NAMES {
                fs::write(dir.path().join(name), &text[..length]).expect("a writable directory");
            }
            let error = load_or_make(dir.path(), || panic!("no new identity"))
                .expect_err("two damaged files");
            assert!(
                error.to_string().contains("restore one from a backup"),
                "{error:#}"
            );
            for name in NAMES {
                let left = fs::read(dir.path().join(name)).expect("the file");
                assert_eq!(left, &text[..length]);
            }
        }
    }

    fn counting() -> impl FnMut() -> [u8; 32] {
        let mut counter = 0u8;
        move || {
            counter += 1;
            [counter; 32]
        }
    }
}
