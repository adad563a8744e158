//! Options of one provider.

use super::{DAY, HOUR, Opt, Shape, optional, required, seconds};
use std::time::Duration;

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
        "Who may log in: names of accounts, or better their immutable ids (`objectGUID`, `entryUUID`), which nobody \
         else ever gets.",
    )
    .reloads(),
    optional(
        "providers.<name>.access.groups",
        Shape::Texts,
        "Whose members may log in, also through other groups: names of groups, or better their immutable ids.",
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
        "While the directory cannot be reached, what it said last counts up to this age; then its users are \
         answered 503 until it is back. At least twice `refresh.interval`.",
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
         passed over for half a minute. Without a port: 636 with `ldaps`, else 389. Host names or IPv4 addresses, \
         for which the certificate must be good.",
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
         `(&(objectClass=person)(mail={login}))`. It must find one account at most. Empty: with Active Directory by \
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
        Shape::Duration(Duration::from_millis(100), Duration::from_mins(1)),
        "Time from dialling a server to a connection under TLS; then the next one is tried.",
    )
    .reloads(),
    optional(
        "providers.<name>.ldap.timeout",
        Shape::Duration(Duration::from_millis(100), Duration::from_secs(HOUR / 60)),
        "Time that a server has for one answer.",
    )
    .reloads(),
];
