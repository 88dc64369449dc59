// An identity provider for tests: `oidc-provider`, with accounts of our own, and with what a provider should not do when it is
// told to. Arguments: the directory where `npm ci` was run. The first line that is printed is the issuer.
//
// POST /test takes an object; what it names is changed:
//   clients   id -> redirect URIs (the secret of each is its id with "-secret"; of "public-…" there is none)
//   accounts  login -> claims
//   keys      a new name for the signing key: the key of that name is made, and the others are gone
//   algorithm what ID tokens are signed with from the next keys on: ES256 or RS256
//   forge     claims that ID tokens get in place of their own, signed with the right key; null: none
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.argv[2], 'package.json'));
const { default: Provider } = await import(join(process.argv[2], 'node_modules/oidc-provider/lib/index.js'));
const jose = require('jose');

const settings = { clients: {}, accounts: {}, keys: 'first', algorithm: 'ES256', forge: null };
let key;
let handle;

async function newKey() {
  const { privateKey } = await jose.generateKeyPair(settings.algorithm, { extractable: true });
  key = { ...await jose.exportJWK(privateKey), kid: settings.keys, alg: settings.algorithm, use: 'sig' };
}

function renew(issuer) {
  const clients = Object.entries(settings.clients).map(([id, redirects]) => ({
    client_id: id,
    ...(id.startsWith('public-') ? { token_endpoint_auth_method: 'none' } : { client_secret: `${id}-secret` }),
    redirect_uris: redirects,
    id_token_signed_response_alg: key.alg,
  }));
  const provider = new Provider(issuer, {
    clients,
    jwks: { keys: [key] },
    cookies: { keys: ['of the tests'] },
    claims: { openid: ['sub'], profile: ['preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
    scopes: ['openid', 'profile', 'email', 'groups'],
    pkce: { required: () => true },
    features: { rpInitiatedLogout: { enabled: true } },
    findAccount: (_, id) => settings.accounts[id] && { accountId: id, claims: () => ({ sub: id, ...settings.accounts[id] }) },
  });
  provider.use(async (context, next) => {
    await next();
    if (settings.forge && context.path === '/token' && context.body?.id_token) {
      const claims = { ...jose.decodeJwt(context.body.id_token), ...settings.forge };
      context.body.id_token = await new jose.SignJWT(claims)
        .setProtectedHeader({ alg: key.alg, kid: key.kid })
        .sign(await jose.importJWK(key, key.alg));
    }
  });
  handle = provider.callback();
}

const server = createServer(async (request, response) => {
  if (request.url !== '/test') {
    return handle(request, response);
  }
  let body = '';
  for await (const chunk of request) body += chunk;
  const wanted = JSON.parse(body);
  Object.assign(settings, wanted);
  if (wanted.keys) await newKey();
  renew(issuer);
  return response.end();
});
await new Promise((listening) => { server.listen(0, '127.0.0.1', listening); });
// By another name than that of the controllers: to browsers it is another site.
const issuer = `http://localhost:${server.address().port}`;
await newKey();
renew(issuer);
console.log(issuer);
