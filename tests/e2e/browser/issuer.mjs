// A real OpenID provider for the tests (npm oidc-provider, certified): over TLS, PKCE required, refresh tokens that
// rotate. Its own login page takes any name that is an account, and any password.
//
// PALISADE_TLS_CERT, PALISADE_TLS_KEY   files
// PALISADE_CLIENT_SECRET                of the client `palisade`
// PALISADE_REDIRECT_URIS                JSON list
//
// Accounts are made, changed and removed while it runs (lines.mjs has the form).

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { load, say, serve } from './lines.mjs';

const { default: Provider } = await load('oidc-provider');

const accounts = new Map();
// What happened, for the test to ask about.
const seen = { codes: 0, refreshes: 0, refused: 0, userinfo: 0 };

let handler = (_, response) => response.writeHead(503).end();
const server = createServer({
  cert: readFileSync(process.env.PALISADE_TLS_CERT),
  key: readFileSync(process.env.PALISADE_TLS_KEY),
}, (request, response) => handler(request, response));
await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
const issuer = `https://127.0.0.1:${server.address().port}`;

const key = (type, options, more) =>
  ({ ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), use: 'sig', ...more });

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'palisade',
    client_secret: process.env.PALISADE_CLIENT_SECRET,
    redirect_uris: JSON.parse(process.env.PALISADE_REDIRECT_URIS),
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
  }],
  jwks: {
    keys: [
      key('rsa', { modulusLength: 2048 }, { kid: 'r1', alg: 'RS256' }),
      key('ec', { namedCurve: 'P-256' }, { kid: 'e1', alg: 'ES256' }),
    ],
  },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  pkce: { required: () => true },
  scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
  claims: {
    openid: ['sub'],
    profile: ['name', 'preferred_username'],
    email: ['email', 'email_verified'],
    groups: ['groups'],
  },
  // Claims stand in the ID token too, as most companies' providers have it.
  conformIdTokenClaims: false,
  issueRefreshToken: async (_, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  ttl: { AccessToken: 300, IdToken: 300, Interaction: 600, Session: 3600, Grant: 86_400, RefreshToken: 86_400 },
  findAccount: async (_, id) => {
    const claims = accounts.get(id);
    return claims && { accountId: id, claims: async () => ({ sub: id, ...claims }) };
  },
});
provider.on('grant.success', ({ oidc }) => {
  if (oidc.params.grant_type === 'refresh_token') seen.refreshes += 1;
  else seen.codes += 1;
});
provider.on('grant.error', () => { seen.refused += 1; });
handler = provider.callback();

say({ ready: issuer });

await serve({
  // Makes an account, or gives it other claims.
  account: ({ account, claims }) => { accounts.set(account, claims); },
  remove: ({ account }) => { accounts.delete(account); },
  seen: () => seen,
});
process.exit(0);
