//! The marker segments in front of a scan (ITU-T T.81, annex B).

use image::metadata::Orientation;

use super::huffman::{HuffmanTable, Kind};
use super::{JpegError, standard_tables};

/// The order in which a block's coefficients come: place in a block of rows of eight.
#[rustfmt::skip]
pub(super) const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A coefficient's place in its block and what it is multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Step {
    pub place: u8,
    pub factor: u16,
}

/// One component of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct JpegComponent {
    id: u8,
    /// Blocks of an MCU along x and y.
    pub across: u32,
    pub down: u32,
    quantisation: u8,
    pub dc: u8,
    pub ac: u8,
}

/// What a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Header {
    pub width: u32,
    pub height: u32,
    pub components: [JpegComponent; 3],
    /// 1 or 3.
    pub count: usize,
    /// MCUs from one restart marker to the next; 0 for none.
    pub restart_interval: u32,
    /// Whether the components are R, G, B.
    pub is_rgb: bool,
    /// Where the entropy-coded bytes begin.
    pub scan: usize,
}

impl Header {
    /// The largest of the components' sampling factors.
    pub fn largest(&self) -> (u32, u32) {
        let of = |factor: fn(&JpegComponent) -> u32| self.parts().map(factor).max().unwrap_or(1);
        (of(|part| part.across), of(|part| part.down))
    }

    pub fn parts(&self) -> impl Iterator<Item = &JpegComponent> {
        self.components.iter().take(self.count)
    }
}

/// Tables of both kinds; they are kept from one picture to the next only so that equal ones are not built again.
pub(super) struct Tables {
    pub dc: [HuffmanTable; 2],
    pub ac: [HuffmanTable; 2],
    quantisation: [Option<[Step; 64]>; 4],
    /// Which tables this picture brought: DC 0, DC 1, AC 0, AC 1.
    brought: [bool; 4],
}

impl Tables {
    pub fn new() -> Self {
        Self {
            dc: std::array::from_fn(|_| HuffmanTable::empty(Kind::Dc)),
            ac: std::array::from_fn(|_| HuffmanTable::empty(Kind::Ac)),
            quantisation: [None; 4],
            brought: [false; 4],
        }
    }

    /// What the component's coefficients are multiplied with.
    pub fn steps(&self, component: &JpegComponent) -> Result<&[Step; 64], JpegError> {
        let table = self.quantisation.get(usize::from(component.quantisation)).and_then(Option::as_ref);
        table.ok_or(JpegError::Damaged("a quantisation table is missing"))
    }

    /// Reads everything up to the scan.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Header, JpegError> {
        self.quantisation = [None; 4];
        self.brought = [false; 4];
        let mut header = Header::default();
        let mut segments = Segments::new(bytes)?;
        loop {
            let (marker, body) = segments.next()?;
            match marker {
                0xc0 | 0xc1 => read_frame(body, &mut header)?,
                0xc4 => self.read_huffman(body)?,
                0xdb => self.read_quantisation(body)?,
                0xdd => header.restart_interval = u16_at(body, 0)?.into(),
                0xda => {
                    read_scan(body, &mut header)?;
                    header.scan = segments.place;
                    if self.brought == [false; 4] {
                        // Motion JPEG may leave out the tables that everybody uses.
                        standard_tables::set(self)?;
                    }
                    return self.check_brought(&header);
                }
                0xe1 if is_turned(body) => return Err(JpegError::Unsupported("a picture that is to be turned")),
                0xee => header.is_rgb |= body.starts_with(b"Adobe") && body.get(11) == Some(&0),
                0xc2 => return Err(JpegError::Unsupported("progressive JPEG")),
                0xc3 | 0xc5..=0xcf => return Err(JpegError::Unsupported("JPEG that is not baseline")),
                0xd9 => return Err(JpegError::EndsEarly),
                _ => {}
            }
        }
    }

    /// A table that an earlier picture left behind is no table.
    fn check_brought(&self, header: &Header) -> Result<Header, JpegError> {
        let [dc_0, dc_1, ac_0, ac_1] = self.brought;
        let there = |part: &JpegComponent| {
            [dc_0, dc_1].get(usize::from(part.dc)) == Some(&true)
                && [ac_0, ac_1].get(usize::from(part.ac)) == Some(&true)
        };
        if header.parts().all(there) { Ok(*header) } else { Err(JpegError::Damaged("a Huffman table is missing")) }
    }

    fn read_huffman(&mut self, mut body: &[u8]) -> Result<(), JpegError> {
        while let Some((&kind, rest)) = body.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(JpegError::EndsEarly)?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or(JpegError::EndsEarly)?;
            self.set_huffman(kind, counts, symbols)?;
            body = rest;
        }
        Ok(())
    }

    /// `kind`: 0x00 and 0x01 for DC, 0x10 and 0x11 for AC.
    pub fn set_huffman(&mut self, kind: u8, counts: &[u8; 16], symbols: &[u8]) -> Result<(), JpegError> {
        let tables = if kind >> 4 == 0 { &mut self.dc } else { &mut self.ac };
        if let Some(brought) = self.brought.get_mut(usize::from(kind >> 4) * 2 + usize::from(kind & 15)) {
            *brought = true;
        }
        match tables.get_mut(usize::from(kind & 15)) {
            Some(table) if kind < 0x20 => table.set(counts, symbols),
            _ => Err(JpegError::Damaged("a Huffman table of a kind that baseline JPEG does not have")),
        }
    }

    fn read_quantisation(&mut self, mut body: &[u8]) -> Result<(), JpegError> {
        while let Some((&kind, rest)) = body.split_first() {
            let wide = kind >> 4 == 1;
            let (factors, rest) = rest.split_at_checked(if wide { 128 } else { 64 }).ok_or(JpegError::EndsEarly)?;
            let mut steps = [Step::default(); 64];
            for (index, (step, &place)) in steps.iter_mut().zip(&ZIGZAG).enumerate() {
                let byte = |at: usize| factors.get(at).copied().map_or(0, u16::from);
                let factor = if wide { byte(index * 2) << 8 | byte(index * 2 + 1) } else { byte(index) };
                *step = Step { place, factor };
            }
            let place = self.quantisation.get_mut(usize::from(kind & 15)).filter(|_| kind < 0x20);
            *place.ok_or(JpegError::Damaged("a quantisation table of an unknown kind"))? = Some(steps);
            body = rest;
        }
        Ok(())
    }
}

/// Marker segments one after the other.
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
    /// Behind the last segment.
    pub place: usize,
}

impl<'a> Segments<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self, JpegError> {
        if bytes.starts_with(&[0xff, 0xd8]) { Ok(Self { bytes, place: 2 }) } else { Err(JpegError::NotJpeg) }
    }

    /// Marker and body of the next segment. Bytes between segments are passed: cameras leave some.
    pub fn next(&mut self) -> Result<(u8, &'a [u8]), JpegError> {
        let rest = self.bytes.get(self.place..).unwrap_or_default();
        let pairs = rest.iter().zip(rest.iter().skip(1));
        let is_marker =
            |(&first, &second): (&u8, &u8)| first == 0xff && !matches!(second, 0 | 0x01 | 0xd0..=0xd8 | 0xff);
        let start = pairs.clone().position(is_marker).ok_or(JpegError::EndsEarly)?;
        let marker = rest.get(start + 1).copied().ok_or(JpegError::EndsEarly)?;
        if marker == 0xd9 {
            return Ok((marker, &[]));
        }
        let after = rest.get(start + 2..).ok_or(JpegError::EndsEarly)?;
        let length = usize::from(u16_at(after, 0)?);
        let body = after.get(2..length).ok_or(JpegError::EndsEarly)?;
        self.place += start + 2 + length;
        Ok((marker, body))
    }
}

/// Whether an APP1 segment is an EXIF note that the picture does not stand upright.
fn is_turned(body: &[u8]) -> bool {
    let note = body.strip_prefix(b"Exif\0\0").and_then(Orientation::from_exif_chunk);
    note.is_some_and(|orientation| orientation != Orientation::NoTransforms)
}

fn u16_at(bytes: &[u8], place: usize) -> Result<u16, JpegError> {
    let pair = bytes.get(place..).and_then(|rest| rest.first_chunk::<2>());
    pair.map(|&pair| u16::from_be_bytes(pair)).ok_or(JpegError::EndsEarly)
}

fn read_frame(body: &[u8], header: &mut Header) -> Result<(), JpegError> {
    let [8, _, _, _, _, count, components @ ..] = body else {
        return Err(JpegError::Unsupported("JPEG of other than 8 bits"));
    };
    if header.count > 0 {
        return Err(JpegError::Damaged("two frame headers"));
    }
    (header.height, header.width) = (u16_at(body, 1)?.into(), u16_at(body, 3)?.into());
    header.count = match count {
        1 | 3 => usize::from(*count),
        _ => return Err(JpegError::Unsupported("JPEG of other than 1 or 3 components")),
    };
    let (groups, _) = components.as_chunks::<3>();
    if groups.len() < header.count {
        return Err(JpegError::EndsEarly);
    }
    for (place, &[id, sampling, quantisation]) in header.components.iter_mut().zip(groups).take(header.count) {
        let (across, down) = match header.count {
            // A single component is stored block by block, whatever its factors are.
            1 => (1, 1),
            _ => (u32::from(sampling >> 4), u32::from(sampling & 15)),
        };
        *place = JpegComponent { id, across, down, quantisation, dc: 0, ac: 0 };
    }
    let (widest, tallest) = header.largest();
    let divides = |part: &JpegComponent| {
        (1..=4).contains(&part.across)
            && (1..=4).contains(&part.down)
            && widest % part.across == 0
            && tallest % part.down == 0
    };
    if header.width == 0 || header.height == 0 {
        return Err(JpegError::Damaged("it has no pixels"));
    }
    if header.parts().all(divides) { Ok(()) } else { Err(JpegError::Unsupported("these sampling factors")) }
}

fn read_scan(body: &[u8], header: &mut Header) -> Result<(), JpegError> {
    let (&count, rest) = body.split_first().ok_or(JpegError::EndsEarly)?;
    if header.count == 0 {
        return Err(JpegError::Damaged("a scan without a frame header"));
    }
    if usize::from(count) != header.count {
        return Err(match header.largest() {
            (1, 1) => JpegError::Unsupported("components in scans of their own"),
            _ => JpegError::Refused("components of several sizes in scans of their own"),
        });
    }
    let (pairs, _) = rest.as_chunks::<2>();
    if pairs.len() < header.count {
        return Err(JpegError::EndsEarly);
    }
    for (component, &[id, tables]) in header.components.iter_mut().zip(pairs).take(header.count) {
        if component.id != id || tables >> 4 > 1 || tables & 15 > 1 {
            return Err(JpegError::Damaged("a scan header that does not fit the frame"));
        }
        (component.dc, component.ac) = (tables >> 4, tables & 15);
    }
    Ok(())
}
