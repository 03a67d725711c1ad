//! Records as a Parquet file that pandas, polars and DuckDB read: a row for each model and sample, a row group a model.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use parquet::basic::{Compression, Type as PhysicalType};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int32Type, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use crate::lab::records::{ModelInfo, ModelRecords, Records, Sample};

const SCHEMA: &str = "
message tinysaver_records {
  REQUIRED BYTE_ARRAY model (STRING);
  REQUIRED BYTE_ARRAY sample (STRING);
  REQUIRED INT64 content;
  OPTIONAL INT32 label;
  REQUIRED INT32 top1;
  REQUIRED group top5 (LIST) { REPEATED group list { REQUIRED INT32 element; } }
  REQUIRED FLOAT confidence;
  REQUIRED FLOAT second;
  REQUIRED FLOAT margin;
  REQUIRED FLOAT entropy;
  REQUIRED group logits (LIST) { REPEATED group list { REQUIRED FLOAT element; } }
}";

/// Key of the file's metadata under which the models stand, as JSON.
const MODELS_KEY: &str = "tinysaver.models";

/// Writes records; the file is there as a whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, records: &Records) -> Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = write_to(&temporary, records).and_then(|()| Ok(fs::rename(&temporary, path)?));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written.with_context(|| format!("{}: cannot be written", path.display()))
}

fn write_to(path: &Path, records: &Records) -> Result<()> {
    let infos: Vec<&ModelInfo> = records.models.iter().map(|model| &model.info).collect();
    let metadata = KeyValue::new(MODELS_KEY.to_owned(), serde_json::to_string(&infos)?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(format!("tinysaver {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(vec![metadata]))
        .set_column_dictionary_enabled("logits.list.element".into(), false)
        .build();
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut writer = SerializedFileWriter::new(File::create(path)?, schema, Arc::new(properties))?;
    for model in &records.models {
        let mut group = writer.next_row_group()?;
        write_model(&mut group, &records.samples, model)?;
        group.close()?;
    }
    writer.into_inner()?.sync_all()?;
    Ok(())
}

fn write_model(group: &mut SerializedRowGroupWriter<'_, File>, samples: &[Sample], model: &ModelRecords) -> Result<()> {
    let rows = samples.len();
    column::<ByteArrayType>(group, &vec![ByteArray::from(model.info.id.as_str()); rows], None, None)?;
    let names: Vec<ByteArray> = samples.iter().map(|sample| ByteArray::from(sample.name.as_str())).collect();
    column::<ByteArrayType>(group, &names, None, None)?;
    let contents: Vec<i64> = samples.iter().map(|sample| sample.content.cast_signed()).collect();
    column::<Int64Type>(group, &contents, None, None)?;
    let labels: Vec<i32> = samples.iter().filter_map(|sample| Some(sample.label?.cast_signed())).collect();
    let known: Vec<i16> = samples.iter().map(|sample| i16::from(sample.label.is_some())).collect();
    column::<Int32Type>(group, &labels, Some(&known), None)?;
    let first: Vec<i32> = model.answers().map(u32::cast_signed).collect();
    column::<Int32Type>(group, &first, None, None)?;
    let (defined, repeated) = list_levels(rows, model.width());
    column::<Int32Type>(group, &model.top, Some(&defined), Some(&repeated))?;
    column::<FloatType>(group, &model.confidence, None, None)?;
    column::<FloatType>(group, &model.second, None, None)?;
    let margins: Vec<f32> = model.confidence.iter().zip(&model.second).map(|(first, second)| first - second).collect();
    column::<FloatType>(group, &margins, None, None)?;
    column::<FloatType>(group, &model.entropy, None, None)?;
    let (defined, repeated) = list_levels(rows, if model.logits.is_empty() { 0 } else { model.info.classes });
    column::<FloatType>(group, &model.logits, Some(&defined), Some(&repeated))
}

/// Levels of rows that are lists of equal lengths: an empty list is one place that is not defined.
fn list_levels(rows: usize, width: usize) -> (Vec<i16>, Vec<i16>) {
    let places = width.max(1);
    let repeated = (0..rows * places).map(|place| i16::from(place % places > 0)).collect();
    (vec![i16::from(width > 0); rows * places], repeated)
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    defined: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> Result<()> {
    let mut column = group.next_column()?.context("a column too many")?;
    column.typed::<T>().write_batch(values, defined, repeated)?;
    column.close()?;
    Ok(())
}

/// Reads records, and checks them.
///
/// # Errors
/// The file cannot be read, is cut off, is no Parquet file or not one of these, or contradicts itself.
pub fn read(path: &Path) -> Result<Records> {
    let name = path.display();
    let file = File::open(path).with_context(|| name.to_string())?;
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let reader = SerializedFileReader::new(file).map_err(|error| {
        anyhow!("{name}: no Parquet file, or one that was cut off ({bytes} bytes are there): {error}; record it again")
    })?;
    let records = read_groups(&reader).with_context(|| name.to_string())?;
    records.check(&name.to_string())?;
    Ok(records)
}

fn read_groups(reader: &SerializedFileReader<File>) -> Result<Records> {
    let metadata = reader.metadata().file_metadata();
    let wanted = SchemaDescriptor::new(Arc::new(parse_message_type(SCHEMA)?));
    ensure!(
        columns_of(metadata.schema_descr()) == columns_of(&wanted),
        "its columns are not those of tinysaver's records; `tinysaver import` reads logits of other programs"
    );
    let models = metadata.key_value_metadata().into_iter().flatten().find(|entry| entry.key == MODELS_KEY);
    let models = models.and_then(|entry| entry.value.as_deref()).context("its metadata name no models")?;
    let infos: Vec<ModelInfo> = serde_json::from_str(models).context("its metadata name no models")?;
    ensure!(
        infos.len() == reader.num_row_groups(),
        "{} models, but {} row groups",
        infos.len(),
        reader.num_row_groups()
    );
    let mut records = Records::default();
    for (index, info) in infos.into_iter().enumerate() {
        let id = info.id.clone();
        let group = reader.get_row_group(index)?;
        let (samples, model) = read_model(group.as_ref(), info).with_context(|| format!("model '{id}'"))?;
        if index == 0 {
            records.samples = samples;
        } else if let Some(row) =
            (0..samples.len().max(records.samples.len())).find(|row| samples.get(*row) != records.samples.get(*row))
        {
            bail!("model '{id}': row {row} is another sample than the first model's");
        }
        records.models.push(model);
    }
    Ok(records)
}

/// Name, type and levels of each column: what reading it depends on.
fn columns_of(schema: &SchemaDescriptor) -> Vec<(String, PhysicalType, i16, i16)> {
    let of = |column: &ColumnDescPtr| {
        (column.path().string(), column.physical_type(), column.max_def_level(), column.max_rep_level())
    };
    schema.columns().iter().map(of).collect()
}

fn read_model(group: &dyn RowGroupReader, info: ModelInfo) -> Result<(Vec<Sample>, ModelRecords)> {
    let rows = usize::try_from(group.metadata().num_rows()).context("a row group of no size")?;
    let names = required::<ByteArrayType>(group, 1, rows)?;
    let contents = required::<Int64Type>(group, 2, rows)?;
    let (labels, known) = optional_labels(group, 3, rows)?;
    let mut labels = labels.into_iter();
    let mut samples = Vec::with_capacity(rows);
    for ((name, content), known) in names.iter().zip(contents).zip(known) {
        let label = if known == 1 { labels.next().map(i32::cast_unsigned) } else { None };
        samples.push(Sample { name: name.as_utf8()?.to_owned(), content: content.cast_unsigned(), label });
    }
    let width = info.classes.min(crate::lab::records::TOP);
    let model = ModelRecords {
        top: list::<Int32Type>(group, 5, rows, &[width])?,
        confidence: required::<FloatType>(group, 6, rows)?,
        second: required::<FloatType>(group, 7, rows)?,
        entropy: required::<FloatType>(group, 9, rows)?,
        logits: list::<FloatType>(group, 10, rows, &[0, info.classes])?,
        info,
    };
    if let Some(row) = model.confidence.iter().position(|confidence| !(0.0..=1.0).contains(confidence)) {
        bail!("row {row}: its confidence is no number from 0 to 1");
    }
    let classes = i32::try_from(model.info.classes)?;
    if let Some(place) = model.top.iter().position(|class| !(0..classes).contains(class)) {
        bail!("row {}: its answer is no class", place / width.max(1));
    }
    Ok((samples, model))
}

/// A column reader of one type; the schema was compared, so that it is one.
fn typed<T: DataType>(
    group: &dyn RowGroupReader,
    index: usize,
) -> Result<parquet::column::reader::ColumnReaderImpl<T>> {
    let column: ColumnReader = group.get_column_reader(index)?;
    T::get_column_reader(column).with_context(|| format!("column {index} is of another type"))
}

fn required<T: DataType>(group: &dyn RowGroupReader, index: usize, rows: usize) -> Result<Vec<T::T>> {
    let (mut values, mut reader) = (Vec::new(), typed::<T>(group, index)?);
    while values.len() < rows {
        let (records, _, _) = reader.read_records(rows - values.len(), None, None, &mut values)?;
        ensure!(records > 0, "column {index} ends after {} of {rows} rows", values.len());
    }
    Ok(values)
}

fn optional_labels(group: &dyn RowGroupReader, index: usize, rows: usize) -> Result<(Vec<i32>, Vec<i16>)> {
    let (mut values, mut known, mut reader) = (Vec::new(), Vec::new(), typed::<Int32Type>(group, index)?);
    while known.len() < rows {
        let (records, _, _) = reader.read_records(rows - known.len(), Some(&mut known), None, &mut values)?;
        ensure!(records > 0, "column {index} ends after {} of {rows} rows", known.len());
    }
    Ok((values, known))
}

/// Lists of one of these lengths, all the same.
fn list<T: DataType>(group: &dyn RowGroupReader, index: usize, rows: usize, widths: &[usize]) -> Result<Vec<T::T>> {
    let (mut values, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    let (mut reader, mut read) = (typed::<T>(group, index)?, 0);
    while read < rows {
        let (records, _, _) = reader.read_records(rows - read, Some(&mut defined), Some(&mut repeated), &mut values)?;
        ensure!(records > 0, "column {index} ends after {read} of {rows} rows");
        read += records;
    }
    let fits = |width: &&usize| values.len() == rows * **width && list_levels(rows, **width).1 == repeated;
    ensure!(widths.iter().any(|width| fits(&width)), "column {index}: its lists are not {widths:?} long");
    Ok(values)
}

#[cfg(test)]
#[path = "parquet_tests.rs"]
pub(crate) mod tests;
