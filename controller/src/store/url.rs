//! Where a store is: `sqlite:PATH` or `postgres://…`. The password in it is never shown.

use std::{fmt, path::PathBuf, str::FromStr};

use sqlx::postgres::PgConnectOptions;

use super::OpenError;

/// Where the store is.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database, as its own URL says.
    Postgres(String),
}

impl StoreUrl {
    /// A SQLite file.
    #[must_use]
    pub const fn sqlite(path: PathBuf) -> Self {
        Self::Sqlite(path)
    }

    /// What the database library takes. A path may hold characters that mean something in a URL.
    pub(super) fn connect_text(&self) -> String {
        match self {
            Self::Sqlite(path) => {
                use std::os::unix::ffi::OsStrExt as _;
                let escaped: String = path
                    .as_os_str()
                    .as_bytes()
                    .iter()
                    .map(|byte| match byte {
                        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                            char::from(*byte).to_string()
                        }
                        _ => format!("%{byte:02X}"),
                    })
                    .collect();
                format!("sqlite:{escaped}?mode=rwc")
            }
            Self::Postgres(url) => url.clone(),
        }
    }

    /// What kind of store it is, as its URL begins.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    pub(super) const fn advice(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "check that the directory exists, is writable and has room",
            Self::Postgres(_) => {
                "check that the server runs, that the user may create tables in the database"
            }
        }
    }
}

impl FromStr for StoreUrl {
    type Err = OpenError;

    fn from_str(text: &str) -> Result<Self, OpenError> {
        let unknown = || OpenError::UnknownKind(without_password(text));
        if text.starts_with("postgres:") || text.starts_with("postgresql:") {
            return match PgConnectOptions::from_str(text) {
                Ok(_) => Ok(Self::Postgres(text.to_owned())),
                Err(_) => Err(unknown()),
            };
        }
        text.strip_prefix("sqlite://")
            .or_else(|| text.strip_prefix("sqlite:"))
            .filter(|path| !path.is_empty() && !path.contains('?'))
            .map(|path| Self::Sqlite(path.into()))
            .ok_or_else(unknown)
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => f.write_str(&without_password(url)),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A URL as far as it may be shown: no password, no parameters (one of them may be a password as well).
fn without_password(url: &str) -> String {
    let shown = url.split('?').next().unwrap_or_default();
    match (shown.split_once("://"), shown.rsplit_once('@')) {
        (Some((scheme, _)), Some((credentials, place))) => {
            let user = credentials
                .strip_prefix(scheme)
                .and_then(|rest| rest.strip_prefix("://"))
                .and_then(|rest| rest.split(':').next())
                .unwrap_or_default();
            format!("{scheme}://{user}@{place}")
        }
        _ => shown.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgres://tombolo:s3cret@db.example/net",
            "postgres://tombolo:s3cr@et@db.example/net?password=s3cret",
        ] {
            let url: StoreUrl = url.parse().expect("a store");

            assert_eq!(url.to_string(), "postgres://tombolo@db.example/net");
            assert!(!format!("{url:?}").contains("s3cr"));
        }
    }

    #[test]
    fn a_path_may_hold_any_character() {
        let url = StoreUrl::sqlite("/tmp/a b?c%d".into());

        assert_eq!(url.connect_text(), "sqlite:/tmp/a%20b%3Fc%25d?mode=rwc");
    }
}
