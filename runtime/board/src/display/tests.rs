//! Pictures against committed ones, and panels' bytes against their data sheets.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Size};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::{self, I2c};
use embedded_hal::{digital, spi};
use tinysaver_core::Exit;

use super::framebuffer::Framebuffer;
use super::framebuffer_sys::{Channel, Geometry};
use super::panel::{Wires, i2c_panel, spi_panel};
use super::*;
use crate::decode::{DecodeLimits, decode, encode_preview};
use crate::pattern::TestPattern;
use crate::throttle::Throttle;

fn facts(exit: Exit) -> Facts {
    Facts {
        label: "golden retriever".into(),
        confidence: 0.734,
        exit,
        latency_us: 12_345,
        energy_joules: None,
        frames_per_second: Some(14.93),
        throttle: Throttle::Bits(0),
    }
}

fn troubled() -> Facts {
    Facts {
        label: "a label that is far longer than any screen is wide, whatever its size may be".into(),
        confidence: 1.0,
        latency_us: 1_234_000,
        energy_joules: Some(0.457),
        throttle: Throttle::Bits(0x5_0005),
        ..facts(Exit::BaseRemote)
    }
}

fn pattern() -> Picture {
    "test://?size=320x240&seed=4".parse::<TestPattern>().unwrap().picture(0)
}

/// One colour, as small panels have it.
struct Mono {
    size: Size,
    lit: Vec<bool>,
}

impl OriginDimensions for Mono {
    fn size(&self) -> Size {
        self.size
    }
}

impl DrawTarget for Mono {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(at, colour) in pixels {
            assert!(at.x >= 0 && at.y >= 0, "nothing is drawn outside: {at}");
            if at.x < self.size.width as i32 && at.y < self.size.height as i32 {
                self.lit[(at.y as u32 * self.size.width + at.x as u32) as usize] = colour.is_on();
            }
        }
        Ok(())
    }
}

fn mono(width: u32, height: u32, facts: &Facts) -> Picture {
    let mut target = Mono { size: Size::new(width, height), lit: vec![false; (width * height) as usize] };
    draw_overlay(&mut target, facts).unwrap();
    Picture { width, height, rgb: target.lit.iter().flat_map(|&lit| [if lit { 255 } else { 0 }; 3]).collect() }
}

fn colour(width: u32, height: u32, facts: &Facts, picture: Option<&Picture>) -> Picture {
    let mut canvas = Canvas::new(width, height);
    canvas.show(facts, picture);
    Picture { width, height, rgb: canvas.rgb().to_vec() }
}

/// Compares with the committed picture; `TINYSAVER_WRITE_GOLDEN=1` writes it anew, to be looked at before it is committed.
fn check(name: &str, drawn: &Picture) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.png"));
    if std::env::var_os("TINYSAVER_WRITE_GOLDEN").is_some() {
        let picture = image::RgbImage::from_raw(drawn.width, drawn.height, drawn.rgb.clone()).unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture.save(&path).unwrap();
    }
    let golden = decode(&fs::read(&path).unwrap(), DecodeLimits::default()).unwrap();
    assert_eq!((golden.width, golden.height), (drawn.width, drawn.height), "{name}");
    let different = golden.rgb.iter().zip(&drawn.rgb).filter(|(a, b)| a != b).count();
    assert_eq!(different, 0, "{name}: {different} of {} levels differ from {}", golden.rgb.len(), path.display());
}

#[test]
fn the_overlay_is_the_picture_that_was_looked_at() {
    check("mono_128x64", &mono(128, 64, &facts(Exit::Saver)));
    check("mono_128x64_troubled", &mono(128, 64, &troubled()));
    check("mono_128x32", &mono(128, 32, &facts(Exit::BaseLocal)));
    check("colour_240x240", &colour(240, 240, &facts(Exit::Saver), Some(&pattern())));
    check("colour_320x240_troubled", &colour(320, 240, &troubled(), None));
    check("colour_640x480", &colour(640, 480, &Facts { throttle: Throttle::Bits(4), ..facts(Exit::Fallback) }, None));
    check("colour_1920x1080", &colour(1920, 1080, &facts(Exit::BaseLocal), None));
}

#[test]
fn any_size_can_be_drawn_on() {
    for (width, height) in [(1, 1), (16, 8), (84, 48), (128, 16), (160, 128), (199, 99), (480, 320), (3840, 2160)] {
        let view = colour(width, height, &troubled(), Some(&pattern()));
        assert_eq!(view.rgb.len(), (width * height * 3) as usize);
    }
}

fn geometry(bytes_per_pixel: u32, channels: [(u32, u32); 3]) -> Geometry {
    let [red, green, blue] = channels.map(|(shift, bits)| Channel { shift, bits });
    Geometry {
        width: 128,
        height: 120,
        left: 2,
        top: 1,
        bytes_per_pixel,
        stride: 136 * bytes_per_pixel,
        red,
        green,
        blue,
        alpha: (bytes_per_pixel == 4).then_some(Channel { shift: 24, bits: 8 }),
        is_true_colour: true,
    }
}

/// A regular file stands for the device: the same writes at the same places.
fn on_framebuffer(geometry: Geometry) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fb0");
    let size = geometry.stride as usize * 130;
    fs::write(&path, vec![0xee; size]).unwrap();
    let file = fs::File::options().read(true).write(true).open(&path).unwrap();
    let mut display = Framebuffer::with_geometry(&path, file, geometry).unwrap();
    display.show(&facts(Exit::Saver), Some(&pattern())).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), size);
    bytes
}

#[test]
fn framebuffers_get_their_own_pixels_and_nothing_beside_them() {
    let mut canvas = Canvas::new(128, 120);
    canvas.show(&facts(Exit::Saver), Some(&pattern()));
    let xrgb = geometry(4, [(16, 8), (8, 8), (0, 8)]);
    let rgb565 = geometry(2, [(11, 5), (5, 6), (0, 5)]);
    let in_one_call = Geometry { left: 0, stride: 128 * 4, ..xrgb };
    for (geometry, unpack) in [
        (xrgb, (|p: &[u8]| [p[2], p[1], p[0]]) as fn(&[u8]) -> [u8; 3]),
        (in_one_call, |p| [p[2], p[1], p[0]]),
        (rgb565, |p| {
            let word = u16::from_le_bytes([p[0], p[1]]);
            [(word >> 11 << 3) as u8, (word >> 5 << 2) as u8, (word << 3) as u8]
        }),
    ] {
        let bytes = on_framebuffer(geometry);
        let pixel_bytes = geometry.bytes_per_pixel as usize;
        let keep = if pixel_bytes == 2 { [0xf8, 0xfc, 0xf8] } else { [0xff; 3] };
        for (index, pixel) in bytes.chunks_exact(pixel_bytes).enumerate() {
            let (columns, left) = (geometry.stride / geometry.bytes_per_pixel, geometry.left);
            let (x, y) = (index as u32 % columns, index as u32 / columns);
            if (left..left + 128).contains(&x) && (1..121).contains(&y) {
                let at = (((y - 1) * 128 + x - left) * 3) as usize;
                let expected: Vec<u8> =
                    canvas.rgb()[at..at + 3].iter().zip(keep).map(|(level, keep)| level & keep).collect();
                assert_eq!(unpack(pixel)[..], expected, "at {x}, {y}");
                assert!(pixel_bytes == 2 || pixel[3] == 0xff, "opaque");
            } else {
                assert!(pixel.iter().all(|&byte| byte == 0xee), "a pixel outside was written: {x}, {y}");
            }
        }
    }
}

#[test]
fn screens_that_cannot_be_drawn_on_say_why() {
    let check = |geometry: Geometry, words: &str| {
        let file = tempfile::tempfile().unwrap();
        let error = Framebuffer::with_geometry("fb".as_ref(), file, geometry).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    let fine = geometry(4, [(16, 8), (8, 8), (0, 8)]);
    check(Geometry { bytes_per_pixel: 1, ..fine }, "8 bits a pixel");
    check(Geometry { is_true_colour: false, ..fine }, "of a palette");
    check(Geometry { stride: 100, ..fine }, "cannot be right");
    check(Geometry { red: Channel { shift: 30, bits: 8 }, ..fine }, "not served");
    let open = |address: &str| open_display(&address.parse().unwrap()).map(|_| ()).unwrap_err().to_string();
    assert!(open("fb:///dev/null").contains("it is no framebuffer"));
    assert!(open("fb:///no/fb0").contains("tinysaver doctor"));
    assert!(open("png:/no/such/folder/a.png").contains("folder does not exist"));
}

#[test]
fn a_png_is_always_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("view.png");
    let mut display = open_display(&format!("png:{}?size=320x240", path.display()).parse().unwrap()).unwrap();
    display.show(&facts(Exit::Saver), Some(&pattern())).unwrap();
    let read = decode(&fs::read(&path).unwrap(), DecodeLimits::default()).unwrap();
    assert_eq!(read, colour(320, 240, &facts(Exit::Saver), Some(&pattern())));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_stream_picture_is_a_jpeg_of_the_same_view() {
    let mut canvas = Canvas::new(320, 240);
    canvas.show(&facts(Exit::Saver), Some(&pattern()));
    let read = decode(&encode_preview(canvas.rgb(), 320, 240, 80).unwrap(), DecodeLimits::default()).unwrap();
    let off: u64 = read.rgb.iter().zip(canvas.rgb()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert_eq!((read.width, read.height), (320, 240));
    assert!(off / canvas.rgb().len() as u64 <= 4, "{off} levels off");
}

/// What went over the wires; a byte is a command or data by the level of the D/C pin.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sent {
    Reset(bool),
    Command(u8),
    Data(Vec<u8>),
}

#[derive(Debug, Default)]
struct Recorded {
    is_data: bool,
    sent: Vec<Sent>,
}

#[derive(Clone, Default)]
struct Bus(Arc<Mutex<Recorded>>);

enum Role {
    Dc,
    Rst,
}

struct Pin(Bus, Role);

impl digital::ErrorType for Pin {
    type Error = Infallible;
}

impl digital::OutputPin for Pin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.set_state(digital::PinState::Low)
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.set_state(digital::PinState::High)
    }

    fn set_state(&mut self, state: digital::PinState) -> Result<(), Infallible> {
        let (is_high, mut recorded) = (state == digital::PinState::High, self.0.0.lock().unwrap());
        match self.1 {
            Role::Dc => recorded.is_data = is_high,
            Role::Rst => recorded.sent.push(Sent::Reset(is_high)),
        }
        Ok(())
    }
}

impl spi::ErrorType for Bus {
    type Error = Infallible;
}

impl spi::SpiDevice for Bus {
    fn transaction(&mut self, operations: &mut [spi::Operation<'_, u8>]) -> Result<(), Infallible> {
        let mut recorded = self.0.lock().unwrap();
        for operation in operations {
            let spi::Operation::Write(bytes) = operation else { panic!("only writes: {operation:?}") };
            assert!(bytes.len() <= 4096, "more than spidev takes at once");
            let is_data = recorded.is_data;
            match (is_data, recorded.sent.last_mut()) {
                (false, _) => recorded.sent.extend(bytes.iter().map(|&byte| Sent::Command(byte))),
                (true, Some(Sent::Data(data))) => data.extend_from_slice(bytes),
                (true, _) if bytes.is_empty() => {}
                (true, _) => recorded.sent.push(Sent::Data(bytes.to_vec())),
            }
        }
        Ok(())
    }
}

struct NoWait;

impl DelayNs for NoWait {
    fn delay_ns(&mut self, _: u32) {}
}

fn short(sent: &Sent) -> String {
    format!("{sent:02x?}").chars().take(60).collect()
}

/// Starts the panel, shows one view, and gives what was sent.
fn sent_by(address: &str) -> Vec<Sent> {
    let DisplayAddress::SpiPanel(panel) = address.parse().unwrap() else { panic!("{address}") };
    let bus = Bus::default();
    let rst = panel.rst.map(|_| Pin(bus.clone(), Role::Rst));
    let wires = Wires { spi: bus.clone(), dc: Pin(bus.clone(), Role::Dc), rst };
    let mut display = spi_panel(&panel, wires, &mut NoWait).unwrap();
    display.show(&facts(Exit::Saver), Some(&pattern())).unwrap();
    let recorded = bus.0.lock().unwrap();
    recorded.sent.clone()
}

/// The view in the order of the panel's memory, 5 + 6 + 5 bits, high byte first.
fn rgb565(width: u32, height: u32) -> Vec<u8> {
    let view = colour(width, height, &facts(Exit::Saver), Some(&pattern()));
    let part = |level: u8, most: u16| (u16::from(level) * most + 127) / 255;
    let pack = |p: &[u8; 3]| (part(p[0], 31) << 11 | part(p[1], 63) << 5 | part(p[2], 31)).to_be_bytes();
    view.rgb.as_chunks::<3>().0.iter().flat_map(pack).collect()
}

/// ST7789VW data sheet, chapters 9.1 and 9.2: SLPOUT, MADCTL, INVON, COLMOD of 16 bits, NORON, DISPON; then the window
/// (CASET, RASET) and its pixels (RAMWR).
#[test]
fn an_st7789_gets_the_commands_of_its_data_sheet() {
    use Sent::{Command, Data, Reset};
    let sent = sent_by("st7789:///dev/spidev0.0?dc=25&rst=27&size=240x240");
    let expected = [
        Reset(false),
        Reset(true),
        Command(0x11),
        Command(0x36),
        Data(vec![0x00]),
        Command(0x21),
        Command(0x3a),
        Data(vec![0x55]),
        Command(0x13),
        Command(0x29),
        Command(0x2a),
        Data(vec![0, 0, 0, 239]),
        Command(0x2b),
        Data(vec![0, 0, 0, 239]),
        Command(0x2c),
        Data(rgb565(240, 240)),
    ];
    assert_eq!(sent.len(), expected.len(), "{:02x?}", sent.iter().take(15).collect::<Vec<_>>());
    for (sent, expected) in sent.iter().zip(&expected) {
        assert!(sent == expected, "{} instead of {}", short(sent), short(expected));
    }
}

/// The same glass turned: MADCTL's MV and MX bits, and a window of the turned size, moved by the offset.
#[test]
fn a_turned_panel_with_an_offset_has_its_window_elsewhere() {
    let sent = sent_by("st7789:///dev/spidev0.0?dc=25&size=135x240&offset=52x40&rotate=90");
    let window: Vec<&Sent> = sent.iter().skip_while(|sent| **sent != Sent::Command(0x2a)).take(4).collect();
    assert_eq!(sent[0], Sent::Command(0x01), "without a reset pin: SWRESET");
    let madctl = sent.iter().position(|sent| *sent == Sent::Command(0x36)).unwrap();
    assert_eq!(sent[madctl + 1], Sent::Data(vec![0x60]));
    let range = |from: u16, to: u16| Sent::Data([from.to_be_bytes(), to.to_be_bytes()].concat());
    assert_eq!(window, [&Sent::Command(0x2a), &range(40, 279), &Sent::Command(0x2b), &range(53, 187)]);
    assert!(sent.last() == Some(&Sent::Data(rgb565(240, 135))));
}

/// ILI9341 data sheet, chapter 8: MADCTL with its BGR bit, INVOFF, COLMOD of 16 bits, SLPOUT, DISPON.
#[test]
fn an_ili9341_gets_the_commands_of_its_data_sheet() {
    let sent = sent_by("ili9341:///dev/spidev0.0?dc=25&rst=27&size=240x320");
    let commands: Vec<u8> =
        sent.iter().filter_map(|sent| if let Sent::Command(code) = sent { Some(*code) } else { None }).collect();
    assert_eq!(commands, [0x36, 0xb4, 0x20, 0x3a, 0x13, 0x11, 0x29, 0x2a, 0x2b, 0x2c]);
    let after = |code: u8| &sent[sent.iter().position(|sent| *sent == Sent::Command(code)).unwrap() + 1];
    assert_eq!((after(0x36), after(0x3a)), (&Sent::Data(vec![0x08]), &Sent::Data(vec![0x55])));
    assert!(sent.last() == Some(&Sent::Data(rgb565(240, 320))));
}

impl i2c::ErrorType for Bus {
    type Error = Infallible;
}

impl I2c for Bus {
    fn transaction(&mut self, address: u8, operations: &mut [i2c::Operation<'_>]) -> Result<(), Infallible> {
        assert_eq!(address, 0x3c);
        for operation in operations {
            let i2c::Operation::Write(bytes) = operation else { panic!("only writes") };
            // The control byte, SSD1306 data sheet 8.1.5.2: D/C in bit 6.
            let (control, rest) = bytes.split_first().unwrap();
            let mut recorded = self.0.lock().unwrap();
            match control {
                0x00 => recorded.sent.extend(rest.iter().map(|&byte| Sent::Command(byte))),
                0x40 => recorded.sent.push(Sent::Data(rest.to_vec())),
                other => panic!("control byte {other:#x}"),
            }
        }
        Ok(())
    }
}

/// SSD1306 data sheet, the flow chart of its application note: multiplex ratio, offset, start line, segment and COM
/// order, COM pins, contrast, A4, A6, clock, charge pump, on. Then pages of eight rows, the lowest bit on top.
#[test]
fn an_ssd1306_gets_the_commands_of_its_data_sheet_and_its_pages() {
    let bus = Bus::default();
    let mut display = i2c_panel("/dev/i2c-1", bus.clone(), 0x3c, (128, 64), false).unwrap();
    let started: Vec<Sent> = bus.0.lock().unwrap().sent.drain(..).collect();
    let code = |sent: &Sent| if let Sent::Command(code) = sent { *code } else { panic!("{sent:?}") };
    let codes: Vec<u8> = started.iter().map(code).collect();
    for wanted in [
        &[0xae][..],
        &[0xd5, 0x80],
        &[0xa8, 63],
        &[0xd3, 0],
        &[0x40],
        &[0x8d, 0x14],
        &[0x20, 0x00],
        &[0xa1],
        &[0xc8],
        &[0xda, 0x12],
        &[0xa4],
        &[0xa6],
        &[0xaf],
    ] {
        assert!(codes.windows(wanted.len()).any(|window| window == wanted), "{wanted:02x?} in {codes:02x?}");
    }
    assert_eq!((codes.first(), codes.last()), (Some(&0xae), Some(&0xaf)), "off while it is set up");
    display.show(&facts(Exit::Saver), None).unwrap();
    let recorded = bus.0.lock().unwrap();
    let pages: Vec<u8> = recorded
        .sent
        .iter()
        .filter_map(|sent| if let Sent::Data(data) = sent { Some(data.clone()) } else { None })
        .flatten()
        .collect();
    let view = mono(128, 64, &facts(Exit::Saver));
    // Only what changed is sent: all columns that are lit somewhere, in whole pages.
    let lit = |x: usize, y: usize| view.rgb[(y * 128 + x) * 3] != 0;
    let column = |x: usize, page: usize| (0..8).fold(0u8, |byte, bit| byte | u8::from(lit(x, page * 8 + bit)) << bit);
    let all: Vec<u8> =
        (0..8).flat_map(|page| (0..128).map(move |x| (x, page))).map(|(x, page)| column(x, page)).collect();
    assert_eq!(pages, all);
}
