//! Huffman codes and the bits they are made of (ITU-T T.81, annexes C and F).

use super::JpegError;

/// Codes of up to this length, with the bits of their value where those fit too, take one look-up.
const FAST_BITS: u32 = 10;

/// What ends a block.
const END_OF_BLOCK: u32 = 64;

/// Behind a coefficient up to this place, a block goes on.
const LAST_PLACE: u32 = 62;

/// A code that baseline JPEG does not have.
const NO_CODE: u32 = 127;

/// One decoded step. Packed: how many bits it takes (6 bits), how many more hold its value (4), how far it moves in
/// zigzag order (7), and the value if that is already known (15, signed). 0 means that the table has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry(u32);

impl Entry {
    fn new(bits: u32, more: u32, moves: u32, value: i32) -> Self {
        Self(bits | more << 6 | moves << 10 | value.cast_unsigned() << 17)
    }

    fn of_symbol(symbol: u8, length: u32, kind: Kind) -> Self {
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        let moves = match (kind, run, size) {
            (Kind::Dc, 0, 0..=11) => 0,
            (Kind::Ac, 0, 0) => END_OF_BLOCK,
            (Kind::Ac, 15, 0) | (Kind::Ac, _, 1..=10) => run + 1,
            _ => NO_CODE,
        };
        Self::new(length, size, moves, 0)
    }

    fn bits(self) -> u32 {
        self.0 & 63
    }

    fn more(self) -> u32 {
        self.0 >> 6 & 15
    }

    fn moves(self) -> u32 {
        self.0 >> 10 & 127
    }

    fn value(self) -> i32 {
        self.0.cast_signed() >> 17
    }
}

/// Several steps at once, for coefficients that nobody wants. Packed: how many bits they take (4 bits), whether the
/// block's end is among them (1), how far they move (7). 0 means that there is no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leap(u16);

impl Leap {
    /// All whole steps that the first [`FAST_BITS`] bits hold.
    #[expect(clippy::cast_possible_truncation, reason = "each part fits its bits")]
    fn of(fast: &[Entry; 1 << FAST_BITS], index: usize) -> Self {
        let (mut bits, mut moves, mut ends) = (0, 0, false);
        while !ends {
            let next = fast.get((index << bits) & ((1 << FAST_BITS) - 1)).copied().unwrap_or(Entry(0));
            let takes = next.bits() + next.more();
            ends = next.moves() == END_OF_BLOCK;
            let further = if ends { 0 } else { next.moves() };
            if next.0 == 0 || bits + takes > FAST_BITS || moves + further > LAST_PLACE {
                ends = false;
                break;
            }
            (bits, moves) = (bits + takes, moves + further);
        }
        Self((bits | u32::from(ends) << 4 | moves << 5) as u16)
    }

    fn bits(self) -> u32 {
        u32::from(self.0 & 15)
    }

    fn ends(self) -> bool {
        self.0 & 16 != 0
    }

    fn moves(self) -> u32 {
        u32::from(self.0 >> 5)
    }
}

/// What a table's symbols mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Size of a difference.
    Dc,
    /// Run of zeros and size of a coefficient.
    Ac,
}

/// One table, ready for decoding.
#[derive(Clone)]
pub(super) struct HuffmanTable {
    /// Codes of each length 1 to 16, then their symbols: as it came, to see whether another is the same.
    counts: [u8; 16],
    symbols: [u8; 256],
    fast: Box<[Entry; 1 << FAST_BITS]>,
    leaps: Box<[Leap; 1 << FAST_BITS]>,
    /// For each length, the first 16 bits of the stream that are too large for it, and its first symbol's place less
    /// its first code.
    limits: [u32; 17],
    offsets: [i32; 17],
    kind: Kind,
}

impl HuffmanTable {
    /// A table without codes.
    pub fn empty(kind: Kind) -> Self {
        Self {
            counts: [0; 16],
            symbols: [0; 256],
            fast: Box::new([Entry(0); 1 << FAST_BITS]),
            leaps: Box::new([Leap(0); 1 << FAST_BITS]),
            limits: [0; 17],
            offsets: [0; 17],
            kind,
        }
    }

    /// Becomes the table with these codes; free where it is so already.
    pub fn set(&mut self, counts: &[u8; 16], symbols: &[u8]) -> Result<(), JpegError> {
        let total: usize = counts.iter().map(|&count| usize::from(count)).sum();
        let mut padded = [0; 256];
        if total > 256 || symbols.len() != total {
            return Err(JpegError::Damaged("a Huffman table has too many codes"));
        }
        padded.iter_mut().zip(symbols).for_each(|(place, &symbol)| *place = symbol);
        if *counts == self.counts && padded == self.symbols {
            return Ok(());
        }
        (self.counts, self.symbols) = (*counts, padded);
        self.fast.fill(Entry(0));
        let (mut code, mut place) = (0u32, 0usize);
        for (length, &count) in (1u32..).zip(counts) {
            let count = usize::from(count);
            self.set_offset(length, place, code);
            for &symbol in padded.get(place..place + count).unwrap_or_default() {
                self.set_fast(code, length, symbol);
                code += 1;
            }
            place += count;
            if code > 1 << length {
                // What was half made must not pass for the same table next time.
                self.counts = [0; 16];
                return Err(JpegError::Damaged("a Huffman table has too many codes of one length"));
            }
            if let Some(limit) = self.limits.get_mut(length as usize) {
                *limit = code << (16 - length);
            }
            code <<= 1;
        }
        if self.kind == Kind::Ac {
            let fast = &self.fast;
            self.leaps.iter_mut().enumerate().for_each(|(index, leap)| *leap = Leap::of(fast, index));
        }
        Ok(())
    }

    fn set_offset(&mut self, length: u32, place: usize, code: u32) {
        if let Some(offset) = self.offsets.get_mut(length as usize) {
            *offset = i32::try_from(place).unwrap_or(0) - code.cast_signed();
        }
    }

    /// Fills in every continuation of a short code.
    fn set_fast(&mut self, code: u32, length: u32, symbol: u8) {
        if length > FAST_BITS {
            return;
        }
        let symbol_only = Entry::of_symbol(symbol, length, self.kind);
        let (size, free) = (symbol_only.more(), FAST_BITS - length);
        let first = (code << free) as usize;
        for (rest, place) in (0u32..).zip(self.fast.iter_mut().skip(first).take(1 << free)) {
            *place = if size > 0 && size <= free {
                let value = extend(rest >> (free - size), size);
                Entry::new(length + size, 0, symbol_only.moves(), value)
            } else {
                symbol_only
            };
        }
    }

    /// A code too long for the fast table.
    #[cold]
    fn slow(&self, next_16_bits: u32) -> Entry {
        let lengths = (1u32..).zip(self.limits.iter().zip(&self.offsets).skip(1));
        for (length, (&limit, &offset)) in lengths {
            if next_16_bits < limit {
                let place = (next_16_bits >> (16 - length)).cast_signed() + offset;
                let symbol = usize::try_from(place).ok().and_then(|place| self.symbols.get(place));
                return symbol.map_or(Entry(NO_CODE << 10), |&symbol| Entry::of_symbol(symbol, length, self.kind));
            }
        }
        Entry(NO_CODE << 10)
    }
}

/// `size` bits as JPEG writes signed numbers: those that begin with 0 are negative.
fn extend(bits: u32, size: u32) -> i32 {
    let sign = (bits >> (size - 1) & 1).cast_signed() - 1;
    bits.cast_signed() + (sign & (1 - (1 << size)))
}

/// The entropy-coded bytes of a scan. Behind their end it gives zeros, and remembers how many.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    place: usize,
    /// The next bits, the first one on top.
    buffer: u64,
    /// How many bits of `buffer` count.
    bits: u32,
    /// How many of them were made up.
    made_up: u32,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8], place: usize) -> Self {
        Self { bytes, place, buffer: 0, bits: 0, made_up: 0 }
    }

    /// At least 56 bits, or all that there are and zeros.
    #[inline(always)]
    fn refill(&mut self) {
        if let Some(next) = self.bytes.get(self.place..).and_then(|rest| rest.first_chunk::<8>()) {
            let next = u64::from_be_bytes(*next);
            // 0xFF is followed by a stuffed 0 or begins a marker.
            let has_ff = (!next).wrapping_sub(0x0101_0101_0101_0101) & next & 0x8080_8080_8080_8080;
            if has_ff == 0 {
                self.buffer |= next >> self.bits;
                let taken = (63 - self.bits) >> 3;
                self.place += taken as usize;
                self.bits += taken * 8;
                return;
            }
        }
        self.refill_bytewise();
    }

    fn refill_bytewise(&mut self) {
        while self.bits <= 56 {
            let byte = match (self.bytes.get(self.place), self.bytes.get(self.place + 1)) {
                (Some(0xff), Some(0)) => {
                    self.place += 2;
                    0xff
                }
                (Some(0xff), _) | (None, _) => {
                    self.made_up += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.place += 1;
                    byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.bits);
            self.bits += 8;
        }
    }

    /// What the next bits are.
    #[inline(always)]
    fn entry(&mut self, table: &HuffmanTable) -> Entry {
        // A code and its value take at most 16 + 11 bits.
        if self.bits < 32 {
            self.refill();
        }
        let index = (self.buffer >> (64 - FAST_BITS)) as usize;
        let entry = table.fast.get(index).copied().unwrap_or(Entry(0));
        if entry.0 == 0 { table.slow((self.buffer >> 48) as u32) } else { entry }
    }

    /// The next step of a block: how far it moves, and its value.
    #[inline(always)]
    fn step(&mut self, table: &HuffmanTable) -> (u32, i32) {
        let entry = self.entry(table);
        self.drop_bits(entry.bits());
        let more = entry.more();
        if more == 0 {
            return (entry.moves(), entry.value());
        }
        let value = extend((self.buffer >> (64 - more)) as u32, more);
        self.drop_bits(more);
        (entry.moves(), value)
    }

    #[inline(always)]
    fn drop_bits(&mut self, count: u32) {
        self.buffer <<= count;
        self.bits -= count;
    }

    /// The difference of a block's mean from the last one's.
    #[inline(always)]
    pub fn dc(&mut self, table: &HuffmanTable) -> Result<i32, JpegError> {
        match self.step(table) {
            (0, difference) => Ok(difference),
            _ => Err(JpegError::Damaged("a code that no table has")),
        }
    }

    /// Gives each further coefficient's place in zigzag order and its value to `keep`, up to place `last`; reads over
    /// those behind it.
    #[inline(always)]
    pub fn ac(&mut self, table: &HuffmanTable, last: u32, mut keep: impl FnMut(usize, i32)) -> Result<(), JpegError> {
        let mut place = 0;
        while place < last {
            let (moves, value) = self.step(table);
            place += moves;
            if place > 63 {
                return end_of_block(moves);
            }
            keep(place as usize, value);
        }
        while place < 63 {
            if self.bits < 32 {
                self.refill();
            }
            let index = (self.buffer >> (64 - FAST_BITS)) as usize;
            let leap = table.leaps.get(index).copied().unwrap_or(Leap(0));
            if leap.0 != 0 && place + leap.moves() <= LAST_PLACE {
                self.drop_bits(leap.bits());
                place += leap.moves();
                if leap.ends() {
                    return Ok(());
                }
                continue;
            }
            let entry = self.entry(table);
            self.drop_bits(entry.bits() + entry.more());
            place += entry.moves();
            if place > 63 {
                return end_of_block(entry.moves());
            }
        }
        Ok(())
    }

    /// Whether bits were used that are not in the file.
    pub fn check(&self) -> Result<(), JpegError> {
        if self.made_up > self.bits { Err(JpegError::EndsEarly) } else { Ok(()) }
    }

    /// Ends an interval: what remains of the last byte is dropped, and marker RST`number` is passed.
    pub fn restart(&mut self, number: u8) -> Result<(), JpegError> {
        self.check()?;
        if self.bits - self.made_up >= 8 {
            return Err(JpegError::Damaged("an interval is longer than it should be"));
        }
        self.pass_marker(number)
    }

    /// Passes over an interval unread.
    pub fn skip_interval(&mut self, number: u8) -> Result<(), JpegError> {
        self.place = next_marker(self.bytes, self.place)?;
        self.pass_marker(number)
    }

    fn pass_marker(&mut self, number: u8) -> Result<(), JpegError> {
        let place = next_marker(self.bytes, self.place)?;
        if self.bytes.get(place + 1) != Some(&(0xd0 + number)) {
            return Err(JpegError::Damaged("a restart marker is missing"));
        }
        *self = Self::new(self.bytes, place + 2);
        Ok(())
    }

    /// Looks for the marker that ends the picture.
    pub fn finish(&self) -> Result<(), JpegError> {
        self.check()?;
        let mut place = self.place;
        loop {
            place = next_marker(self.bytes, place)?;
            match self.bytes.get(place + 1) {
                Some(0xd9) => return Ok(()),
                Some(0xd0..=0xd7) => place += 2,
                Some(0xda | 0xc4) => return Err(JpegError::Unsupported("more than one scan")),
                _ => return Err(JpegError::Damaged("an unknown marker inside of the picture")),
            }
        }
    }
}

/// Whether a step behind the 63rd coefficient is the code for it.
#[inline(always)]
fn end_of_block(moves: u32) -> Result<(), JpegError> {
    if moves == END_OF_BLOCK {
        return Ok(());
    }
    Err(JpegError::Damaged("a block has more than 64 coefficients, or an unknown code"))
}

/// The next 0xFF that is not followed by a stuffed 0; fill bytes (more 0xFF) are passed.
fn next_marker(bytes: &[u8], from: usize) -> Result<usize, JpegError> {
    let rest = bytes.get(from..).unwrap_or_default();
    let pairs = rest.iter().zip(rest.iter().skip(1));
    let found = pairs.enumerate().find(|(_, (first, second))| **first == 0xff && !matches!(second, 0 | 0xff));
    found.map(|(place, _)| from + place).ok_or(JpegError::EndsEarly)
}
