//! `controller store`

use serde::Serialize;

use super::{
    Failure, Output,
    place::{self, Place},
};
use crate::{
    cli::{Global, StoreVerb},
    config::File,
    state_dir::StateDir,
    store::Store,
};

#[derive(Serialize)]
struct Moved {
    from: String,
    to: String,
    rows: usize,
}

pub(super) fn run(
    verb: &StoreVerb,
    global: &Global,
    file: File,
    out: &Output,
) -> Result<(), Failure> {
    let StoreVerb::MigrateTo { url, store } = verb;
    let place = Place::of(global, file, store.as_deref())?;
    let target = place::parse(url)?;
    if target == place.store {
        return Err(Failure::Usage(
            "the store is there already: name another".to_owned(),
        ));
    }
    // Nobody may write to the old store while it is copied, and nobody shall go on with it afterwards by accident.
    let _held = StateDir::open(&place.state_dir)?;
    let moved = place::wait(async {
        let from = place.open().await?;
        let contents = from.contents().await?;
        let to = Store::open(&target).await?;
        to.put_contents(&contents, 0, None).await?;
        from.close().await;
        to.close().await;
        Ok(Moved {
            from: place.store.to_string(),
            to: target.to_string(),
            rows: contents.len(),
        })
    })?;
    out.object(&moved, |moved| {
        format!(
            "{} rows of {} are in {}\nnow start the controller with --store and that URL; the old store is as it was",
            moved.rows, moved.from, moved.to
        )
    });
    Ok(())
}
