//! Signing in with an account at an identity provider: OpenID Connect Core 1.0, authorization code flow (section 3.1), with
//! PKCE (RFC 7636).
//!
//! 1. The browser gets a secret in a cookie and is sent to the provider. `state`, `nonce` and the PKCE verifier are made
//!    from that secret, so nothing is remembered here, and any replica goes on with any attempt. The secret needs no
//!    signature: who can plant one in a browser could plant a signed one of their own as well.
//! 2. The provider sends the browser back with a code. If `state` does not belong to the cookie, somebody else began this.
//! 3. The code is exchanged for an ID token. Signature, issuer, audience, expiry and nonce are verified with the keys that
//!    the provider publishes. Where a signature fails the keys are fetched anew, once: providers replace them.
//! 4. Claims say who it is and what they may do. Somebody is known again by the provider's own number for them (`sub`),
//!    never by a name.

use std::{
    collections::BTreeSet,
    fmt,
    time::{Duration, Instant},
};

use openidconnect::{
    AdditionalClaims, AuthType, AuthenticationFlow, AuthorizationCode, ClaimsVerificationError,
    ClientId, ClientSecret, DiscoveryError, EmptyExtraTokenFields, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, IdTokenFields, IssuerUrl, LogoutRequest, OAuth2TokenResponse as _,
    PkceCodeChallenge, ProviderMetadataWithLogout, RedirectUrl, RequestTokenError, Scope,
    StandardErrorResponse, StandardTokenResponse, TokenResponse as _, UserInfoClaims,
    UserInfoError,
    core::{
        CoreAuthDisplay, CoreAuthPrompt, CoreClientAuthMethod, CoreErrorResponseType,
        CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm, CoreResponseType, CoreRevocableToken, CoreRevocationErrorResponse,
        CoreTokenIntrospectionResponse, CoreTokenType,
    },
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tombolo_domain::{
    rights::Rights,
    sign_on::{Grant, granted},
};
use ureq::Agent;

mod claims;
mod flow;
mod http;
mod settings;

use claims::Claims;
use flow::Flow;
use http::HttpError;
pub use settings::{OidcSettings, OidcSettingsError, RoleSetting};

/// How long what the provider publishes is used before it is fetched again.
const FRESH_FOR: Duration = Duration::from_secs(3600);
/// A provider that did not answer is not asked again for this long, so that browsers do not queue up behind it.
const REST: Duration = Duration::from_secs(3);
/// Longest value of a parameter that is looked at.
const MAX_PARAMETER: usize = 4096;

/// Signatures that count. Those with a shared secret do not: a provider has a key pair.
const SIGNATURES: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// An identity provider, and whom it may let in.
pub(crate) struct Oidc {
    settings: OidcSettings,
    issuer: IssuerUrl,
    name: String,
    secret: Option<ClientSecret>,
    grants: Vec<Grant>,
    agent: Agent,
    published: Mutex<Published>,
}

/// What the provider publishes of itself, as of a moment.
#[derive(Debug, Clone)]
struct Provider {
    metadata: ProviderMetadataWithLogout,
    at: Instant,
}

#[derive(Debug, Default)]
struct Published {
    provider: Option<Provider>,
    failed_at: Option<Instant>,
}

/// Where to send a browser, and what it keeps meanwhile.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) url: String,
    pub(crate) secret: String,
}

/// What the provider sent the browser back with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    /// RFC 9207.
    iss: Option<String>,
}

/// Somebody for whom the provider vouches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) issuer: String,
    /// What the provider knows them by: never given to anybody else.
    pub(crate) subject: String,
    /// What they are called.
    pub(crate) name: String,
    /// What they may do, if the provider has a say in that. The inner one is none if that is nothing.
    pub(crate) rights: Option<Option<Rights>>,
}

/// Why somebody is not signed in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OidcError {
    /// The provider.
    #[error("it does not answer: {0}")]
    Unreachable(String),
    /// The provider, by an error code (RFC 6749 section 4.1.2.1).
    #[error("it refused: {0}")]
    Refused(String),
    /// The answer belongs to no attempt of this browser.
    #[error("the answer belongs to no attempt of this browser")]
    NotBegun,
    /// What the provider said is not what it should be.
    #[error("its answer cannot be trusted: {0}")]
    Untrusted(String),
    /// The provider does not name them.
    #[error("it does not say the claim {0:?}")]
    Nameless(String),
}

/// All claims of a token: which are wanted, the settings say.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct OtherClaims(serde_json::Map<String, serde_json::Value>);

impl AdditionalClaims for OtherClaims {}

type Tokens = StandardTokenResponse<
    IdTokenFields<
        OtherClaims,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

type Client = openidconnect::Client<
    OtherClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oidc")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Oidc {
    /// Checks the settings. The provider is not asked before somebody wants to sign in: it may be away, or start later.
    pub(crate) fn new(settings: OidcSettings) -> Result<Self, OidcSettingsError> {
        let issuer = settings.checked_issuer()?;
        let host = issuer.url().host_str().unwrap_or_default().to_owned();
        let is_encrypted = issuer.url().scheme() == "https";
        Ok(Self {
            name: settings.name.clone().unwrap_or(host),
            secret: settings.secret()?,
            grants: settings.grants()?,
            agent: http::agent(settings.ca.as_deref(), is_encrypted)?,
            published: Mutex::default(),
            issuer,
            settings,
        })
    }

    /// What people call the provider.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether users are made who are not there yet.
    pub(crate) const fn creates_users(&self) -> bool {
        self.settings.create_users
    }

    /// Begins an attempt; the provider will send the browser to `redirect`.
    pub(crate) async fn begin(&self, redirect: &str) -> Result<Begun, OidcError> {
        let provider = self.provider(None).await?;
        let flow = Flow::new();
        let client = self.client(&provider, redirect)?;
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&flow.verifier());
        let (state, nonce) = (flow.state(), flow.nonce());
        let scopes = self.settings.scopes.iter().cloned().map(Scope::new);
        let (url, _, _) = client
            .authorize_url(
                AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
                move || state,
                move || nonce,
            )
            .add_scopes(scopes)
            .set_pkce_challenge(challenge)
            .url();
        Ok(Begun {
            url: url.into(),
            secret: flow.secret(),
        })
    }

    /// Ends an attempt: who it is. `secret` is what the browser kept, `redirect` what [`begin`](Self::begin) was told.
    pub(crate) async fn finish(
        &self,
        redirect: &str,
        secret: Option<&str>,
        answer: Answer,
    ) -> Result<Identity, OidcError> {
        let flow = secret
            .and_then(Flow::of_secret)
            .ok_or(OidcError::NotBegun)?;
        let state = answer.state.unwrap_or_default();
        if !flow.has_state(&state) {
            return Err(OidcError::NotBegun);
        }
        if answer.iss.is_some_and(|iss| iss != *self.issuer) {
            return Err(OidcError::Untrusted("another issuer".to_owned()));
        }
        if let Some(error) = answer.error {
            return Err(OidcError::Refused(error_code(&error)));
        }
        let code = answer.code.filter(|code| code.len() <= MAX_PARAMETER);
        let code = code.ok_or(OidcError::NotBegun)?;
        let provider = self.provider(None).await?;
        let tokens = self.exchange(&provider, redirect, &flow, code).await?;
        let claims = match self.read(&provider, redirect, &flow, &tokens).await {
            Err(Unread::Signature(_)) => {
                let newer = self.provider(Some(provider.at)).await?;
                self.read(&newer, redirect, &flow, &tokens).await
            }
            read => read,
        }?;
        self.identify(&claims)
    }

    /// Where the session at the provider is ended, if it says so and was asked already.
    pub(crate) async fn logout_url(&self) -> Option<String> {
        let published = self.published.lock().await;
        let metadata = &published.provider.as_ref()?.metadata;
        let url = metadata
            .additional_metadata()
            .end_session_endpoint
            .clone()?;
        let client = ClientId::new(self.settings.client_id.clone());
        let request = LogoutRequest::from(url).set_client_id(client);
        Some(request.http_get_url().into())
    }

    /// What the provider publishes; asked again if it was asked longer ago, or not after `known`.
    async fn provider(&self, known: Option<Instant>) -> Result<Provider, OidcError> {
        let mut published = self.published.lock().await;
        let is_new = |provider: &&Provider| {
            provider.at.elapsed() < FRESH_FOR && known.is_none_or(|known| provider.at > known)
        };
        if let Some(provider) = published.provider.as_ref().filter(is_new) {
            return Ok(provider.clone());
        }
        if published.failed_at.is_some_and(|at| at.elapsed() < REST) {
            return Err(OidcError::Unreachable("a moment ago".to_owned()));
        }
        let client = http::client(&self.agent);
        let discovered =
            ProviderMetadataWithLogout::discover_async(self.issuer.clone(), &client).await;
        match discovered {
            Ok(metadata) => {
                let provider = Provider {
                    metadata,
                    at: Instant::now(),
                };
                published.provider = Some(provider.clone());
                published.failed_at = None;
                Ok(provider)
            }
            Err(error) => {
                published.failed_at = Some(Instant::now());
                Err(if let DiscoveryError::Request(error) = error {
                    error.into()
                } else {
                    untrusted(&error)
                })
            }
        }
    }

    fn client(&self, provider: &Provider, redirect: &str) -> Result<Client, OidcError> {
        let metadata = &provider.metadata;
        let redirect = RedirectUrl::new(redirect.to_owned()).map_err(|error| untrusted(&error))?;
        let id = ClientId::new(self.settings.client_id.clone());
        let methods = metadata.token_endpoint_auth_methods_supported();
        let takes = |method| methods.is_none_or(|methods| methods.contains(&method));
        let by = if takes(CoreClientAuthMethod::ClientSecretBasic) {
            AuthType::BasicAuth
        } else {
            AuthType::RequestBody
        };
        Ok(
            Client::from_provider_metadata(metadata.clone(), id, self.secret.clone())
                .set_redirect_uri(redirect)
                .set_auth_type(by),
        )
    }

    async fn exchange(
        &self,
        provider: &Provider,
        redirect: &str,
        flow: &Flow,
        code: String,
    ) -> Result<Tokens, OidcError> {
        let client = self.client(provider, redirect)?;
        let http = http::client(&self.agent);
        let request = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| untrusted(&error))?
            .set_pkce_verifier(flow.verifier());
        request
            .request_async(&http)
            .await
            .map_err(|error| match error {
                RequestTokenError::ServerResponse(answer) => {
                    OidcError::Refused(error_code(answer.error().as_ref()))
                }
                RequestTokenError::Request(error) => error.into(),
                // What the provider answered may hold tokens.
                RequestTokenError::Parse(error, _) => untrusted(&error),
                RequestTokenError::Other(text) => OidcError::Untrusted(text),
            })
    }

    /// The claims, verified; those of the user info too if the ID token does not say what is wanted.
    async fn read(
        &self,
        provider: &Provider,
        redirect: &str,
        flow: &Flow,
        tokens: &Tokens,
    ) -> Result<Claims, Unread> {
        let client = self.client(provider, redirect)?;
        let verifier = client.id_token_verifier().set_allowed_algs(SIGNATURES);
        let token = tokens
            .id_token()
            .ok_or_else(|| OidcError::Untrusted("there is no ID token".to_owned()))?;
        let told = token.claims(&verifier, &flow.nonce())?;
        let mut claims = Claims::default();
        claims.add(serde_json::to_value(told).map_err(|error| untrusted(&error))?);
        let is_missing = |claim: &String| claims.get(claim).is_none();
        let wanted = [&self.settings.user_claim, &self.settings.roles_claim];
        if !wanted.into_iter().any(is_missing) || provider.metadata.userinfo_endpoint().is_none() {
            return Ok(claims);
        }
        let http = http::client(&self.agent);
        let subject = told.subject().clone();
        let more: UserInfoClaims<OtherClaims, CoreGenderClaim> = client
            .user_info(tokens.access_token().clone(), Some(subject))
            .map_err(|error| untrusted(&error))?
            .request_async(&http)
            .await
            .map_err(|error| {
                if let UserInfoError::Request(error) = error {
                    error.into()
                } else {
                    untrusted(&error)
                }
            })?;
        claims.add(serde_json::to_value(&more).map_err(|error| untrusted(&error))?);
        Ok(claims)
    }

    fn identify(&self, claims: &Claims) -> Result<Identity, OidcError> {
        let named = |claim: &str| {
            claims
                .name(claim)
                .map(str::to_owned)
                .ok_or_else(|| OidcError::Nameless(claim.to_owned()))
        };
        let values: BTreeSet<String> = claims.texts(&self.settings.roles_claim);
        let has_a_say = !self.grants.is_empty();
        Ok(Identity {
            issuer: self.settings.issuer.clone(),
            subject: named("sub")?,
            name: named(&self.settings.user_claim)?,
            rights: has_a_say.then(|| granted(&self.grants, &values)),
        })
    }
}

/// Why an ID token is not believed.
enum Unread {
    /// Perhaps because the provider has new keys.
    Signature(ClaimsVerificationError),
    Other(OidcError),
}

impl From<ClaimsVerificationError> for Unread {
    fn from(error: ClaimsVerificationError) -> Self {
        if matches!(error, ClaimsVerificationError::SignatureVerification(_)) {
            Self::Signature(error)
        } else {
            Self::Other(untrusted(&error))
        }
    }
}

impl From<OidcError> for Unread {
    fn from(error: OidcError) -> Self {
        Self::Other(error)
    }
}

impl From<Unread> for OidcError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Signature(error) => untrusted(&error),
            Unread::Other(error) => error,
        }
    }
}

impl From<HttpError> for OidcError {
    fn from(error: HttpError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

/// What is wrong, with its causes.
fn untrusted(error: &dyn std::error::Error) -> OidcError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    OidcError::Untrusted(text)
}

/// An error code that may be shown: whatever else is in it is left out.
fn error_code(text: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    text.chars().filter(is_plain).take(64).collect()
}
