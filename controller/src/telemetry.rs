//! Logging to stderr, for journals and terminals.

use tracing_subscriber::EnvFilter;

/// Starts logging; `RUST_LOG` says what, `info` by default.
pub(crate) fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logging = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(rustix::termios::isatty(std::io::stderr()));
    // A second start in one process keeps the first one's log.
    let _ = logging.try_init();
}
