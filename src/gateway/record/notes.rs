//! The annotations that an event may have. docs/audit.md lists them from here.

/// One annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Note {
    Decision,
    Reason,
    Cluster,
    Deed,
    Tried,
    Ended,
    Terminal,
    Address,
    Hidden,
    Duration,
    Sent,
    Received,
    Exit,
    Cut,
    LeftOut,
}

impl Note {
    /// All of them, in the order of the document.
    #[cfg(test)]
    pub(super) const ALL: [Self; 15] = [
        Self::Decision,
        Self::Reason,
        Self::Cluster,
        Self::Deed,
        Self::Tried,
        Self::Ended,
        Self::Terminal,
        Self::Address,
        Self::Duration,
        Self::Sent,
        Self::Received,
        Self::Cut,
        Self::Exit,
        Self::Hidden,
        Self::LeftOut,
    ];

    /// As it stands in the event.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Decision => "authorization.k8s.io/decision",
            Self::Reason => "authorization.k8s.io/reason",
            Self::Cluster => "palisade.dev/cluster",
            Self::Deed => "palisade.dev/event",
            Self::Tried => "palisade.dev/login-user",
            Self::Ended => "palisade.dev/ended-tokens",
            Self::Terminal => "palisade.dev/terminal",
            Self::Address => "palisade.dev/terminal-address",
            Self::Hidden => "palisade.dev/hidden-parameters",
            Self::Duration => "palisade.dev/duration-seconds",
            Self::Sent => "palisade.dev/bytes-sent",
            Self::Received => "palisade.dev/bytes-received",
            Self::Exit => "palisade.dev/exit-code",
            Self::Cut => "palisade.dev/cut",
            Self::LeftOut => "palisade.dev/left-out",
        }
    }

    /// What it says.
    #[cfg(test)]
    pub(super) fn doc(self) -> &'static str {
        match self {
            Self::Decision => {
                "`allow` or `forbid`: what the gateway decided. Without it nothing was decided, since \
                 nobody was identified or the request made no sense. A cluster may still refuse what the \
                 gateway allowed; `responseStatus` has that"
            }
            Self::Reason => "the role that allowed it, or why it was refused",
            Self::Cluster => {
                "the cluster, as it was asked for: it need not exist. None: the gateway's own API, or a login"
            }
            Self::Deed => {
                "`login` (also one that was refused for its name or password), `renewal`, `logout`, \
                 `session-end` (somebody ended a session or token of theirs on the page that lists them), \
                 `terminal-login-allowed` and `terminal-login-refused` (what somebody answered on the page that \
                 asks), `password-change`"
            }
            Self::Tried => {
                "whose password was tried in a login that was refused, if there is such a user; a name that \
                 nobody has may be a password, and is not told"
            }
            Self::Ended => {
                "`session-end`: the ids of the sessions and tokens that were to end, with blanks between them; \
                 `responseStatus` has whether they did"
            }
            Self::Terminal => {
                "what the terminal that was answered calls its machine: it chooses that itself"
            }
            Self::Address => {
                "from where that terminal asked for a code. None: it waits on the machine of the browser"
            }
            Self::Hidden => "how many parameters of the query are not in `requestURI`",
            Self::Duration => "from the request's head to the stage, by a clock that nobody sets",
            Self::Sent => {
                "bytes of the answer's body, or of an upgraded stream, that went to the client"
            }
            Self::Received => "bytes of an upgraded stream that came from the client",
            Self::Exit => {
                "exec and attach: the command's exit code as the cluster told it; `failed` if it could not \
                 be run; `unknown` if the cluster told nothing, or told it by SPDY, which is not read"
            }
            Self::Cut => "`true`: the client left, or a connection broke, before the answer's end",
            Self::LeftOut => "how many events of strangers were left out since the last one",
        }
    }
}
