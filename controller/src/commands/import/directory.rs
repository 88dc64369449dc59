//! The files that a ZeroTier controller keeps: `network/<id>.json` and `network/<id>/member/<address>.json`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use tombolo_proto::id::{NetworkId, NodeId};

use crate::{api::Fields, commands::Failure};

/// A network as ZeroTier's controller keeps it.
#[derive(Debug)]
pub(super) struct Old {
    pub(super) id: NetworkId,
    pub(super) fields: Fields,
    pub(super) members: BTreeMap<NodeId, Fields>,
}

/// All networks, in order of their ids.
pub(super) fn read(dir: &Path) -> Result<Vec<Old>, Failure> {
    let inside = [dir.join("network"), dir.join("controller.d/network")];
    let networks = inside.into_iter().find(|path| path.is_dir());
    let networks = networks.ok_or_else(|| {
        Failure::Usage(format!(
            "{} is no controller.d: it has no directory `network`; name /var/lib/zerotier-one/controller.d or a copy of it",
            dir.display()
        ))
    })?;
    let mut all = Vec::new();
    for (id, path) in named::<NetworkId>(&networks)? {
        let inside = networks.join(id.to_string()).join("member");
        let mut members = BTreeMap::new();
        if inside.is_dir() {
            for (node, path) in named::<NodeId>(&inside)? {
                members.insert(node, object(&path)?);
            }
        }
        let fields = object(&path)?;
        all.push(Old {
            id,
            fields,
            members,
        });
    }
    Ok(all)
}

/// Files `<id>.json`; whatever else lies there is passed over, as ZeroTier does.
fn named<T: FromStr + Ord>(dir: &Path) -> Result<BTreeMap<T, PathBuf>, Failure> {
    let entries = fs::read_dir(dir).map_err(|cause| unreadable(dir, &cause))?;
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|cause| unreadable(dir, &cause))?.path();
        let is_json = path
            .extension()
            .is_some_and(|extension| extension == "json");
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if let Some(Ok(id)) = stem.filter(|_| is_json).map(str::parse) {
            found.insert(id, path);
        }
    }
    Ok(found)
}

fn object(path: &Path) -> Result<Fields, Failure> {
    let text = fs::read(path).map_err(|cause| unreadable(path, &cause))?;
    let wrong = |cause: &str| {
        let path = path.display();
        Failure::Usage(format!(
            "{path}: {cause}; mend or remove the file, then repeat"
        ))
    };
    if text.trim_ascii().is_empty() {
        return Err(wrong("the file is empty"));
    }
    Fields::read(&text).map_err(|cause| wrong(&cause))
}

fn unreadable(path: &Path, cause: &io::Error) -> Failure {
    Failure::Usage(format!("cannot read {}: {cause}", path.display()))
}
