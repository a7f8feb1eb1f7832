//! The ideas of the detection that can be left out, to measure what each is worth (`tollwatch eval --ablate`).

/// One idea.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idea {
    /// Evidence in one collection.
    Collection,
    /// Evidence over all collections of an identity.
    Identity,
    /// What neighbours share in both directions is own.
    Sharing,
    /// What those who read everything have not met yet is usual for them.
    BroadReaders,
    /// Runs of more new objects than anybody usual has.
    Runs,
    /// Runs in the order of the ids.
    Walks,
    /// Who comes to a collection behaves there as those do who are like it elsewhere.
    Elsewhere,
    /// A device's new identity goes on where its last one ended.
    Linking,
    /// Tools that nobody else calls.
    Tools,
}

impl Idea {
    /// All of them.
    pub const ALL: [Idea; 9] = [
        Idea::Collection,
        Idea::Identity,
        Idea::Sharing,
        Idea::BroadReaders,
        Idea::Runs,
        Idea::Walks,
        Idea::Elsewhere,
        Idea::Linking,
        Idea::Tools,
    ];

    /// The name in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Idea::Collection => "collection",
            Idea::Identity => "identity",
            Idea::Sharing => "sharing",
            Idea::BroadReaders => "broad_readers",
            Idea::Runs => "runs",
            Idea::Walks => "walks",
            Idea::Elsewhere => "elsewhere",
            Idea::Linking => "linking",
            Idea::Tools => "tools",
        }
    }
}

/// The ideas in use: all, unless some are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ideas {
    left_out: u16,
}

impl Ideas {
    /// These, without `idea`.
    #[must_use]
    pub fn without(self, idea: Idea) -> Ideas {
        Ideas {
            left_out: self.left_out | 1 << idea as u16,
        }
    }

    /// True when `idea` is in use.
    pub fn has(self, idea: Idea) -> bool {
        self.left_out & 1 << idea as u16 == 0
    }
}
