//! Why a fragment does not go on, one name each.

macro_rules! refusals {
    ($($variant:ident $name:literal $words:literal)*) => {
        /// Why the memory turns a fragment away.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum FragmentRefusal { $(#[doc = $words] $variant),* }

        impl FragmentRefusal {
            /// All of them, in counter order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in counters, events and tests.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// In words, for people.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$variant => $words),* }
            }
        }
    };
}

refusals! {
    Impossible "fragment_invalid" "fragment offset or length impossible"
    Overlap "fragment_overlap" "fragment overlaps one of its datagram that was seen (RFC 5722)"
    Repeat "fragment_repeat" "exact repeat of a fragment that was seen (RFC 8200 §4.5)"
    BeyondEnd "fragment_beyond_end" "fragment reaches beyond its datagram's last one"
    TwoEnds "fragment_two_ends" "a second last fragment that ends elsewhere"
    Scattered "fragment_scattered" "fragments of the datagram lie in too many separate pieces"
    Poisoned "fragment_poisoned" "an earlier fragment of the datagram contradicted it"
    TableFull "fragment_table_full" "no place for another incomplete datagram"
    SourceQuota "fragment_source_quota" "the source has too many incomplete datagrams"
    HeldFull "fragment_held_full" "no place to hold another fragment that came before its first"
    HeldQuota "fragment_held_quota" "too many fragments of the source wait for their first"
    NoFirst "fragment_no_first" "the datagram's first fragment did not come in time"
}

impl FragmentRefusal {
    /// Whether the whole datagram is given up with this fragment: what is left of it could only reach the
    /// receiver as something else than what was judged here.
    #[must_use]
    pub const fn poisons(self) -> bool {
        match self {
            Self::Overlap | Self::BeyondEnd | Self::TwoEnds | Self::Scattered => true,
            Self::Impossible
            | Self::Repeat
            | Self::Poisoned
            | Self::TableFull
            | Self::SourceQuota
            | Self::HeldFull
            | Self::HeldQuota
            | Self::NoFirst => false,
        }
    }
}
