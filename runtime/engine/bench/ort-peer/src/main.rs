//! `peer LIBRARY MODEL COUNT PIXELS`: loads a model with onnxruntime, one thread, and runs it COUNT times on one picture.

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::Tensor;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, model, count, pixels] = arguments.try_into().map_err(|_| "peer LIBRARY MODEL COUNT PIXELS")?;
    let (count, pixels): (usize, usize) = (count.parse()?, pixels.parse()?);
    let environment = ort::init_from(library)?.build()?;
    let mut session = Session::builder(&environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .commit_from_file(model)?;
    let picture = vec![0.5f32; 3 * pixels * pixels];
    for _ in 0..count {
        let input = Tensor::from_array(([1usize, 3, pixels, pixels], picture.clone()))?;
        let outputs = session.run(ort::inputs![input])?;
        let (_, logits) = outputs[0].try_extract_tensor::<f32>()?;
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        println!("{best:?}");
    }
    Ok(())
}
