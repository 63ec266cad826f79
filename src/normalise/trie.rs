//! A digit trie over calling code + national number: one walk tells the plan, whether the number
//! lies in a range of public services, and whether it is a sensitive service.

use crate::record::identifier::Kind;

/// What the numbering tables say of one run of digits.
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    /// Index of the plan, and how many digits its calling code has; `None` for an unassigned code.
    pub(crate) plan: Option<(u16, u8)>,
    pub(crate) service: bool,
    /// `Kind::Emergency` or `Kind::Helpline` when the digits are exactly such a number.
    pub(crate) sensitive: Option<Kind>,
}

#[derive(Clone)]
struct Node {
    /// Index of the child per digit; 0 is none (the root is nobody's child).
    next: [u16; 10],
    /// Plan index plus one.
    plan: u16,
    /// Length of the calling code, on nodes where one ends.
    code_len: u8,
    service: bool,
    sensitive: Option<Kind>,
}

const EMPTY: Node = Node { next: [0; 10], plan: 0, code_len: 0, service: false, sensitive: None };

pub(crate) struct Trie(Vec<Node>);

/// A walk under way, to be gone on from more than once.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    at: u16,
    code_len: u8,
    plan: Option<(u16, u8)>,
    service: bool,
}

impl Position {
    const ROOT: Position = Position { at: 0, code_len: 0, plan: None, service: false };
}

impl Trie {
    pub(crate) fn new() -> Trie {
        Trie(vec![EMPTY])
    }

    /// Bytes outside `0`–`9` end the walk, and the digits before them are not a sensitive number.
    pub(crate) fn walk(&self, digits: &[u8]) -> Walk {
        self.walk_from(Position::ROOT, digits)
    }

    /// As `walk` over the digits that led to `from` and then `digits`.
    pub(crate) fn walk_from(&self, from: Position, digits: &[u8]) -> Walk {
        match self.go(from, digits) {
            Ok(end) => {
                let Position { at, plan, service, .. } = end;
                Walk { plan, service, sensitive: self.0[usize::from(at)].sensitive }
            }
            Err(Position { plan, service, .. }) => Walk { plan, service, sensitive: None },
        }
    }

    /// Where `digits` lead from the root; `None` if no table has a longer number that begins so.
    pub(crate) fn position(&self, digits: &[u8]) -> Option<Position> {
        self.go(Position::ROOT, digits).ok()
    }

    /// The end, or how far it went.
    #[inline]
    fn go(&self, mut here: Position, digits: &[u8]) -> Result<Position, Position> {
        for &digit in digits {
            let node = &self.0[usize::from(here.at)];
            let Some(&next @ 1..) = node.next.get(usize::from(digit.wrapping_sub(b'0'))) else { return Err(here) };
            let node = &self.0[usize::from(next)];
            here.at = next;
            if node.plan != 0 {
                here.code_len = here.code_len.max(node.code_len);
                here.plan = Some((node.plan - 1, here.code_len));
            }
            here.service |= node.service;
        }
        Ok(here)
    }

    /// Longer runs win over their own beginnings, so a country chosen by leading digits overrides
    /// the default of its calling code.
    pub(crate) fn add_plan(&mut self, digits: &[u8], plan: u16, code_len: usize) {
        let at = self.path(digits);
        self.0[at].plan = plan + 1;
        if digits.len() == code_len {
            self.0[at].code_len = code_len as u8;
        }
    }

    pub(crate) fn add_service(&mut self, digits: &[u8]) {
        let at = self.path(digits);
        self.0[at].service = true;
    }

    /// `pattern` of digits, and `x` for any; what is listed first stays. Numbers without an `x`
    /// must be added before those with one: wildcards share their tails.
    pub(crate) fn add_sensitive(&mut self, pattern: &[u8], kind: Kind) {
        let fixed = pattern.iter().position(|&b| b == b'x').unwrap_or(pattern.len());
        let at = self.path(&pattern[..fixed]);
        self.any_digits(at, pattern.len() - fixed, kind);
    }

    fn any_digits(&mut self, at: usize, more: usize, kind: Kind) {
        if more == 0 {
            self.0[at].sensitive.get_or_insert(kind);
            return;
        }
        let mut shared = 0;
        for digit in 0..10 {
            let child = self.0[at].next[digit];
            if child != 0 {
                self.any_digits(usize::from(child), more - 1, kind);
                continue;
            }
            if shared == 0 {
                shared = self.push();
                self.any_digits(usize::from(shared), more - 1, kind);
            }
            self.0[at].next[digit] = shared;
        }
    }

    fn path(&mut self, digits: &[u8]) -> usize {
        let mut at = 0;
        for &digit in digits {
            let digit = usize::from(digit - b'0');
            if self.0[at].next[digit] == 0 {
                let child = self.push();
                self.0[at].next[digit] = child;
            }
            at = usize::from(self.0[at].next[digit]);
        }
        at
    }

    fn push(&mut self) -> u16 {
        self.0.push(EMPTY);
        u16::try_from(self.0.len() - 1).expect("the shipped tables stay under 65,536 nodes; a test loads them")
    }
}
