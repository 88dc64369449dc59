//! The identity file: the node's one secret, and its public key so that damage is noticed.

use std::{fs, io, path::Path};

use anyhow::{Context as _, bail};
use tombolo_proto::{
    address::{self, Cost},
    id::NodeId,
    key::{IdentityKey, Seed},
};

use super::{explain, generations};

const NAME: &str = "identity";

/// Reads the identity, or mines one if there is none. A file that exists is never replaced.
pub(super) fn load_or_make(
    root: &Path,
    draw: impl FnMut() -> [u8; 32],
) -> anyhow::Result<(Seed, NodeId)> {
    let path = root.join(NAME);
    match fs::read_to_string(&path) {
        Ok(text) => read(&text).with_context(|| {
            format!(
                "The identity file {} is damaged; restore it from a backup, or delete it to become a new node",
                path.display()
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (seed, node) = address::mine(Cost::Node, draw);
            generations::replace(&path, &[write(&seed, node).as_bytes()]).map_err(|error| explain(root, &error))?;
            Ok((seed, node))
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            bail!("The identity file {} is damaged; restore it from a backup, or delete it to become a new node", path.display())
        }
        Err(error) => Err(explain(&path, &error)),
    }
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
    fn a_truncated_identity_is_an_error_and_stays_as_it_is() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        load_or_make(dir.path(), counting()).expect("a writable directory");
        let path = dir.path().join(NAME);
        let text = fs::read_to_string(&path).expect("the identity");

        for length in [0, 10, text.len() / 2, text.len() - 10] {
            fs::write(&path, &text[..length]).expect("a writable directory");
            let error =
                load_or_make(dir.path(), || panic!("no new identity")).expect_err("a damaged file");
            assert!(
                error.to_string().contains("restore it from a backup"),
                "{error:#}"
            );
            assert_eq!(
                fs::read_to_string(&path).expect("the file"),
                &text[..length]
            );
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
