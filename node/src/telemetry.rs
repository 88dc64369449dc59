//! Logs go to standard error. `RUST_LOG` wins over `--log-level`, which wins over the default.

use std::io::{self, IsTerminal as _};

use tracing::Level;
use tracing_subscriber::EnvFilter;

/// Starts logging; once per process.
pub(crate) fn init(level: Option<Level>) {
    let default = level.unwrap_or(Level::INFO);
    // Libraries speak only of what goes wrong, unless asked.
    let directives = format!("warn,tombolo_node={default},tombolo_engine={default}");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(directives));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal());
    // The journal stamps every line itself.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().init();
    } else {
        builder.init();
    }
}
