//! Which provider, and whom it may let in: the section `[oidc]` of the configuration.

use std::path::{Path, PathBuf};

use openidconnect::{ClientSecret, IssuerUrl};
use serde::Deserialize;
use tombolo_domain::sign_on::Grant;
use tombolo_proto::{api::Role, id::NetworkId};

/// The section `[oidc]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OidcSettings {
    /// The provider's name for itself, as in `https://id.example.org/realms/main`. What it publishes has to say the same.
    pub issuer: String,
    /// What the provider calls this controller.
    pub client_id: String,
    /// File with the secret in its first line; without one, the controller is a public client.
    pub client_secret_file: Option<PathBuf>,
    /// What the button calls the provider; the host of the issuer if not given.
    pub name: Option<String>,
    /// File with certificates (PEM) that vouch for the provider, instead of the public authorities.
    pub ca: Option<PathBuf>,
    /// What is asked for besides `openid`.
    #[serde(default = "usual_scopes")]
    pub scopes: Vec<String>,
    /// The claim that names a user.
    #[serde(default = "usual_user_claim")]
    pub user_claim: String,
    /// The claim with what `roles` are given for.
    #[serde(default = "usual_roles_claim")]
    pub roles_claim: String,
    /// Make users who are not there yet.
    #[serde(default)]
    pub create_users: bool,
    /// Who may do what. Without any, users have the roles that an administrator gave them.
    #[serde(default)]
    pub roles: Vec<RoleSetting>,
}

/// One of `[[oidc.roles]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RoleSetting {
    /// One of the values of the claim; without it, the role is for everybody whom the provider lets in.
    pub value: Option<String>,
    /// What they may do.
    pub role: Role,
    /// In this network only.
    pub network: Option<NetworkId>,
}

fn usual_scopes() -> Vec<String> {
    ["profile", "email"].map(str::to_owned).into()
}

fn usual_user_claim() -> String {
    "preferred_username".to_owned()
}

fn usual_roles_claim() -> String {
    "groups".to_owned()
}

/// Why single sign-on cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum OidcSettingsError {
    /// Not an address.
    #[error(
        "[oidc] issuer = {0:?} is no URL: write it as the provider does, as in https://id.example.org"
    )]
    Issuer(String),
    /// Everybody on the way could let in whom they like.
    #[error("[oidc] issuer = {0:?} is not encrypted: use https")]
    Plain(String),
    /// The secret cannot be read.
    #[error("[oidc] cannot read the client secret {path}: {cause}; check client-secret-file", path = .path.display())]
    Secret {
        /// Which file.
        path: PathBuf,
        /// What the system says, or what is wrong with it.
        cause: String,
    },
    /// The certificates cannot be read.
    #[error("[oidc] {0}; check ca")]
    Trust(#[from] crate::trust::TrustError),
    /// New users would be able to do nothing.
    #[error("[oidc] create-users needs roles to give: add [[oidc.roles]]")]
    NoRoles,
}

impl OidcSettings {
    /// The issuer: over TLS, or on this host.
    pub(super) fn checked_issuer(&self) -> Result<IssuerUrl, OidcSettingsError> {
        let wrong = || OidcSettingsError::Issuer(self.issuer.clone());
        let issuer = IssuerUrl::new(self.issuer.clone()).map_err(|_| wrong())?;
        let url = issuer.url();
        let host = url.host_str().ok_or_else(wrong)?;
        let is_here = host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse()
                .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        match url.scheme() {
            "https" => Ok(issuer),
            "http" if is_here => Ok(issuer),
            "http" => Err(OidcSettingsError::Plain(self.issuer.clone())),
            _ => Err(wrong()),
        }
    }

    pub(super) fn secret(&self) -> Result<Option<ClientSecret>, OidcSettingsError> {
        self.client_secret_file
            .as_deref()
            .map(read_secret)
            .transpose()
    }

    /// Who may do what.
    pub(super) fn grants(&self) -> Result<Vec<Grant>, OidcSettingsError> {
        if self.create_users && self.roles.is_empty() {
            return Err(OidcSettingsError::NoRoles);
        }
        let grant = |setting: &RoleSetting| Grant {
            value: setting.value.clone(),
            role: setting.role,
            network: setting.network,
        };
        Ok(self.roles.iter().map(grant).collect())
    }
}

fn read_secret(path: &Path) -> Result<ClientSecret, OidcSettingsError> {
    let wrong = |cause: String| OidcSettingsError::Secret {
        path: path.to_owned(),
        cause,
    };
    let text = std::fs::read_to_string(path).map_err(|cause| wrong(cause.to_string()))?;
    let secret = text.lines().next().unwrap_or_default().trim();
    if secret.is_empty() {
        return Err(wrong("its first line is empty".to_owned()));
    }
    Ok(ClientSecret::new(secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_is_reached_over_tls_or_on_this_host() {
        for good in [
            "https://id.example.org/realms/main",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "http://localhost/x",
        ] {
            assert!(with_issuer(good).checked_issuer().is_ok(), "{good}");
        }
        for (bad, complaint) in [
            ("http://id.example.org", "use https"),
            ("http://127.0.0.1.example.org", "use https"),
            ("id.example.org", "no URL"),
            ("file:///etc/passwd", "no URL"),
        ] {
            let error = with_issuer(bad).checked_issuer().expect_err(bad);
            assert!(error.to_string().contains(complaint), "{error}");
        }
    }

    #[test]
    fn a_section_that_lets_users_in_who_may_nothing_is_refused() {
        let text = "issuer = 'https://id.example.org'\nclient-id = 'x'\ncreate-users = true";
        let mut settings: OidcSettings = toml::from_str(text).expect("a section");
        let error = settings.grants().expect_err("no roles");
        assert!(error.to_string().contains("[[oidc.roles]]"), "{error}");
        assert!(!settings.create_users || settings.roles.is_empty());

        settings.create_users = false;

        assert_eq!(settings.grants().expect("none"), Vec::new());
        for wrong in ["client-id = 1", "secret = 'x'", "roles = [{role = 'king'}]"] {
            let text = format!("issuer = 'https://id.example.org'\nclient-id = 'x'\n{wrong}");
            assert!(toml::from_str::<OidcSettings>(&text).is_err(), "{wrong}");
        }
    }

    fn with_issuer(issuer: &str) -> OidcSettings {
        let text = format!("issuer = {issuer:?}\nclient-id = 'x'");
        toml::from_str(&text).expect("a section")
    }
}
