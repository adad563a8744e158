//! Options of one provider.

use super::{DAY, Opt, Shape, optional, required, seconds};
use std::time::Duration;

/// Of a connection and of an answer: below it nothing works, and nobody waits longer for a login.
const WAIT: Shape = Shape::Duration(Duration::from_millis(100), Duration::from_mins(1));

/// In the order of the document; `<name>` stands for any provider's name.
pub const PROVIDER_OPTIONS: &[Opt] = &[
    optional(
        "providers.<name>.display_name",
        Shape::Text,
        "What people see where they choose. Empty: the name.",
    )
    .reloads(),
    optional(
        "providers.<name>.primary",
        Shape::Switch,
        "Users of the primary provider have their bare name as handle (`jane`), those of every other one \
         `<provider>:<name>` (`corp:jane`). One provider at most is primary. A handle that somebody has already \
         stays as it is.",
    )
    .reloads(),
    optional(
        "providers.<name>.disabled",
        Shape::Switch,
        "Nobody can log in there any more, and sessions and tokens of its users are refused from that moment on. \
         So they are when the provider is taken out of the file.",
    )
    .reloads(),
    optional(
        "providers.<name>.access.mode",
        Shape::Word(&["restricted", "danger_anyone"]),
        "`restricted`: users and members of groups that are listed may log in. `danger_anyone`: whoever has an \
         account there may. A login alone gives no right on any cluster; bindings do.",
    )
    .reloads(),
    optional(
        "providers.<name>.access.users",
        Shape::Texts,
        "Who may log in: names of accounts, or better their immutable ids, which nobody else ever gets (`objectGUID`, \
         `entryUUID`, GitHub's number of the account; with `oidc` what `palisade provider check --user SUBJECT` prints).",
    )
    .reloads(),
    optional(
        "providers.<name>.access.groups",
        Shape::Texts,
        "Whose members may log in, also through other groups: names of groups, or better their immutable ids. With \
         `github`: `acme`, `acme/site-ops`, `org-<number>`, `team-<number>`.",
    )
    .reloads(),
    optional(
        "providers.<name>.refresh.interval",
        seconds(5, DAY),
        "Age from which on groups and state of a user with a session or a token are read again. It is how long \
         somebody who was disabled or taken out of a group may go on.",
    )
    .reloads(),
    optional(
        "providers.<name>.refresh.max_age",
        seconds(10, 7 * DAY),
        "While the provider cannot be reached, what it said last counts up to this age; then its users are \
         answered 503 until it is back. Users of an OpenID provider that gave no refresh token cannot be read again: \
         their logins end at this age. At least twice `refresh.interval`.",
    )
    .reloads(),
    required(
        "providers.<name>.ldap.directory",
        Shape::Word(&["active_directory", "openldap"]),
        "What the directory is: it says which attributes hold names, ids, groups and states.",
    )
    .reloads(),
    optional(
        "providers.<name>.ldap.hosts",
        Shape::Texts,
        "Required without `srv_domain`. Its servers as `host` or `host:port`, in the order in which they are tried; one that does not answer is \
         passed over for half a minute. Without a port: 636 with `ldaps`, else 389. Host names, IPv4 addresses, or \
         IPv6 addresses in brackets, for which the certificate must be good.",
    )
    .reloads(),
    optional(
        "providers.<name>.ldap.srv_domain",
        Shape::Domain,
        "In place of `hosts`: the domain whose servers DNS names (SRV), asked again as often as DNS says. With Active \
         Directory these are its domain controllers (`_ldap._tcp.dc._msdcs.<domain>`), else the servers of \
         `_ldap._tcp.<domain>`; eight at most, the first by priority and weight. One that is not below the domain is \
         not asked: DNS can be forged.",
    )
    .reloads(),
    optional(
        "providers.<name>.ldap.name_server",
        Shape::AddressOrNone,
        "Asked for all names of the directory in place of the system's name servers; `10.0.0.53:53`.",
    )
    .reloads(),
    optional(
        "providers.<name>.ldap.transport",
        Shape::Word(&["ldaps", "starttls", "danger_plaintext"]),
        "`ldaps`: TLS from the first byte. `starttls`: TLS before any password is sent, or no connection. \
         `danger_plaintext`: passwords go over the network as they are.",
    )
    .reloads(),
    optional(
        "providers.<name>.ldap.ca_file",
        Shape::Path,
        "PEM file with the authorities that the servers' certificates may come from, and no others; empty: the \
         public ones. Read at each new connection.",
    )
    .reloads(),
    required(
        "providers.<name>.ldap.bind_dn",
        Shape::Text,
        "The account that the gateway searches with: a DN, with Active Directory also `user@domain`. It needs to \
         read users and groups, and nothing more.",
    )
    .reloads(),
    required(
        "providers.<name>.ldap.bind_password_file",
        Shape::Path,
        "File with its password; a line end behind it does not count. Read at each new connection, so a new password \
         takes no reload.",
    )
    .reloads(),
    required(
        "providers.<name>.ldap.base_dn",
        Shape::Text,
        "Everything is looked for below this entry: `DC=corp,DC=example`.",
    )
    .reloads(),
    optional(
        "providers.<name>.ldap.user_base_dn",
        Shape::Text,
        "Accounts are looked for below this entry instead; who is not below it cannot log in.",
    )
    .reloads(),
    optional(
        "providers.<name>.ldap.group_base_dn",
        Shape::Text,
        "Groups are looked for below this entry instead; those elsewhere do not count.",
    )
    .reloads(),
    optional(
        "providers.<name>.ldap.login_filter",
        Shape::Text,
        "How an account is found by what was typed, which stands for `{login}`, escaped: \
         `(&(objectClass=person)(mail={login}))`. It must find one account at most. At a refresh it counts too, \
         with `*` for the name: whoever it does not find any more is out. Empty: with Active Directory by \
         `sAMAccountName`, `DOMAIN\\name` or `name@domain`, with OpenLDAP by `uid`.",
    )
    .reloads(),
    optional(
        "providers.<name>.ldap.handle_attribute",
        Shape::Text,
        "The attribute that a new user's handle is made of, in lower case; empty: `sAMAccountName`, `uid`. What is \
         not 1 to 63 of a-z, 0-9, `-`, `_` and `.` cannot be a handle, and its login is refused.",
    )
    .reloads(),
    optional(
        "providers.<name>.ldap.group_lookup",
        Shape::Word(&["auto", "member_of", "search", "in_chain"]),
        "How the groups of an account are found, those that it is in through others included. Active Directory: \
         `auto` reads `tokenGroups` and takes `in_chain` where that is hidden. OpenLDAP: `search` (which `auto` \
         means) looks for groups with the account in `member` or `uniqueMember`; `member_of` reads what the overlay \
         memberof writes, which is faster.",
    )
    .reloads(),
    optional(
        "providers.<name>.ldap.connect_timeout",
        WAIT,
        "Time from dialling a server to a connection under TLS; then the next one is tried.",
    )
    .reloads(),
    optional(
        "providers.<name>.ldap.timeout",
        WAIT,
        "Time that a server has for one answer.",
    )
    .reloads(),
    optional(
        "providers.<name>.github.url",
        Shape::Text,
        "Where people log in: `https://github.com`, `https://acme.ghe.com`, or a GitHub Enterprise Server.",
    )
    .reloads(),
    optional(
        "providers.<name>.github.api_url",
        Shape::Text,
        "Where its REST API is. Empty: `https://api.github.com` for github.com, `https://api.acme.ghe.com` for \
         `https://acme.ghe.com`, else `<url>/api/v3`.",
    )
    .reloads(),
    required(
        "providers.<name>.github.client_id",
        Shape::Text,
        "The client id of the OAuth app. Its callback URL is `<external_url>/login/<name>/callback`.",
    )
    .reloads(),
    required(
        "providers.<name>.github.client_secret_file",
        Shape::Path,
        "File with a client secret of the app; a line end behind it does not count. Read whenever it is needed, so a \
         new secret takes no reload.",
    )
    .reloads(),
    optional(
        "providers.<name>.github.organizations",
        Shape::Texts,
        "The organisations that count, by name or, as names can change hands, by `org-<number>`: nobody else may log in, \
         and groups of others are not read. With `access.mode: restricted` and no list in `access` their members may log \
         in. Empty: memberships in all organisations count.",
    )
    .reloads(),
    optional(
        "providers.<name>.github.device_flow",
        Shape::Switch,
        "Lets terminals log in by GitHub's own device flow (`palisade login --device-at-provider`): for people whose \
         browsers reach GitHub and not the gateway. GitHub's page does not show which machine asks, nor from where, \
         so somebody who sends a colleague such a code is logged in as them if they type it; without this option the \
         gateway's own page asks. The app has to have *Enable Device Flow*.",
    )
    .reloads(),
    optional(
        "providers.<name>.github.ca_file",
        Shape::Path,
        "PEM file with the authorities that the servers' certificates may come from, and no others; empty: the \
         public ones. Read at each new connection.",
    )
    .reloads(),
    optional(
        "providers.<name>.github.connect_timeout",
        WAIT,
        "Time from dialling to a connection under TLS.",
    )
    .reloads(),
    optional(
        "providers.<name>.github.timeout",
        WAIT,
        "Time that one question has, connecting included.",
    )
    .reloads(),
    optional(
        "providers.<name>.github.danger_plain_http",
        Shape::Switch,
        "Takes `http://` URLs, of this very machine and no other: for trying things out.",
    )
    .reloads(),
    required(
        "providers.<name>.oidc.issuer",
        Shape::Text,
        "The issuer, to the letter as it stands in its `/.well-known/openid-configuration`, a slash at the end \
         included: `https://login.example.com/realms/acme`.",
    )
    .reloads(),
    required(
        "providers.<name>.oidc.client_id",
        Shape::Text,
        "What the gateway is called there. Its redirect URI is `<external_url>/login/<name>/callback`.",
    )
    .reloads(),
    optional(
        "providers.<name>.oidc.client_secret_file",
        Shape::Path,
        "File with the client's secret; a line end behind it does not count. Read whenever it is needed. Empty: a \
         public client, whose codes PKCE alone protects.",
    )
    .reloads(),
    optional(
        "providers.<name>.oidc.scopes",
        Shape::Texts,
        "What is asked for besides `openid`. With most providers `offline_access` gives a refresh token, without which \
         a login ends at `refresh.max_age`; some want `groups` for the groups.",
    )
    .reloads(),
    optional(
        "providers.<name>.oidc.prompt",
        Shape::Text,
        "What the provider is told to ask its person, as OpenID has it: `login`, `consent`, `select_account`, or \
         several with blanks between. Empty: as the provider likes.",
    )
    .reloads(),
    optional(
        "providers.<name>.oidc.handle_claim",
        Shape::Text,
        "The claim that a new user's handle is made of: in lower case, and without what stands behind an `@`. What is \
         not 1 to 63 of a-z, 0-9, `-`, `_` and `.` then cannot be a handle, and its login is refused. An `email` must be \
         verified there.",
    )
    .reloads(),
    optional(
        "providers.<name>.oidc.display_name_claim",
        Shape::Text,
        "The claim with the name for people.",
    )
    .reloads(),
    optional(
        "providers.<name>.oidc.groups_claim",
        Shape::Text,
        "The claim with the groups: texts, which are names and ids at once. `realm_access.roles` is a claim in a claim. \
         Empty: nobody has groups there.",
    )
    .reloads(),
    optional(
        "providers.<name>.oidc.userinfo",
        Shape::Switch,
        "Asks the userinfo endpoint too; what it says counts where the ID token is silent.",
    )
    .reloads(),
    optional(
        "providers.<name>.oidc.algorithms",
        Shape::Texts,
        "What ID tokens may be signed with; the key says which of these it is. Neither `none` nor a shared secret \
         (`HS256`) can be written here.",
    )
    .reloads(),
    optional(
        "providers.<name>.oidc.ca_file",
        Shape::Path,
        "PEM file with the authorities that the servers' certificates may come from, and no others; empty: the \
         public ones. Read at each new connection.",
    )
    .reloads(),
    optional(
        "providers.<name>.oidc.connect_timeout",
        WAIT,
        "Time from dialling to a connection under TLS.",
    )
    .reloads(),
    optional(
        "providers.<name>.oidc.timeout",
        WAIT,
        "Time that one question has, connecting included.",
    )
    .reloads(),
    optional(
        "providers.<name>.oidc.danger_plain_http",
        Shape::Switch,
        "Takes `http://` URLs, of this very machine and no other: for trying things out.",
    )
    .reloads(),
];
