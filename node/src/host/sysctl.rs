//! Kernel variables, by their path below `/proc/sys`.
//!
//! In a container that path is read-only even where the network is the host's own. Whoever wants the node to set variables
//! from there mounts the host's `/proc/sys/net` at `/host/proc/sys/net`.

use std::{fs, path::Path};

use anyhow::Context as _;

const OWN: &str = "/proc/sys";
const MOUNTED: &str = "/host/proc/sys";

/// What a variable is.
pub(super) fn get(key: &str) -> anyhow::Result<String> {
    let path = Path::new(OWN).join(key);
    let value =
        fs::read_to_string(&path).with_context(|| format!("Failed to read {}", path.display()))?;
    Ok(value.trim().to_owned())
}

/// Gives a variable a value.
pub(super) fn set(key: &str, value: &str) -> anyhow::Result<()> {
    let path = Path::new(OWN).join(key);
    let Err(error) = fs::write(&path, value) else {
        return Ok(());
    };
    fs::write(Path::new(MOUNTED).join(key), value).map_err(|_| {
        let name = key.replace('/', ".");
        anyhow::Error::new(error).context(format!(
            "Failed to set {name}: set it to {value} on the host, or give the container --volume {OWN}/net:{MOUNTED}/net"
        ))
    })
}
