import Foundation
import Peftfile
import TestSupport

/// A second implementation of the prompt encoders: plain loops from the papers' formulas, the C library's functions.
enum PlainPrompts {
    typealias Matrix = [[Double]]

    static func linear(_ x: Matrix, _ weight: Matrix, _ bias: [Double]) -> Matrix {
        x.map { row in
            weight.indices.map { j in row.indices.reversed().reduce(bias[j]) { $0 + row[$1] * weight[j][$1] } }
        }
    }

    static func apply(_ function: (Double) -> Double, _ x: Matrix) -> Matrix { x.map { $0.map(function) } }

    static func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

    struct Direction {
        var wi: Matrix, wh: Matrix, bi: [Double], bh: [Double]
    }

    /// One direction of torch.nn.LSTM: gates i, f, g, o; c and h from zero.
    static func run(_ d: Direction, _ x: Matrix, hidden h: Int) -> Matrix {
        var hidden = [Double](repeating: 0, count: h)
        var cell = hidden
        return x.map { row in
            let a = linear([row], d.wi, d.bi)[0]
            let b = linear([hidden], d.wh, d.bh)[0]
            for j in 0..<h {
                let i = sigmoid(a[j] + b[j])
                let f = sigmoid(a[h + j] + b[h + j])
                let g = tanh(a[2 * h + j] + b[2 * h + j])
                let o = sigmoid(a[3 * h + j] + b[3 * h + j])
                cell[j] = f * cell[j] + i * g
                hidden[j] = o * tanh(cell[j])
            }
            return hidden
        }
    }

    static func bidirectional(_ forward: Direction, _ reverse: Direction, _ x: Matrix, hidden: Int) -> Matrix {
        let (there, back) = (run(forward, x, hidden: hidden), run(reverse, x.reversed(), hidden: hidden).reversed())
        return zip(there, back).map { $0 + $1 }
    }
}

/// A training state in the making: random tensors under names, written as float64 so that nothing is rounded on the way.
struct PromptState {
    var tensors: [SmallTensor] = []
    var generator: SplitMix64

    init(seed: UInt64) { generator = SplitMix64(seed: seed) }

    mutating func matrix(_ name: String, _ rows: Int, _ columns: Int) -> PlainPrompts.Matrix {
        let values = (0..<rows * columns).map { _ in Double.random(in: -1...1, using: &generator) }
        tensors.append(SmallTensor(name: ExactString(name), shape: [rows, columns], values: values, dtype: .f64))
        return (0..<rows).map { Array(values[$0 * columns..<($0 + 1) * columns]) }
    }

    mutating func vector(_ name: String, _ count: Int) -> [Double] {
        let values = (0..<count).map { _ in Double.random(in: -1...1, using: &generator) }
        tensors.append(SmallTensor(name: ExactString(name), shape: [count], values: values, dtype: .f64))
        return values
    }

    mutating func layer(_ name: String, _ outputs: Int, _ inputs: Int) -> (PlainPrompts.Matrix, [Double]) {
        (matrix("\(name).weight", outputs, inputs), vector("\(name).bias", outputs))
    }

    mutating func direction(_ name: String, _ suffix: String, _ inputs: Int, _ h: Int) -> PlainPrompts.Direction {
        PlainPrompts.Direction(
            wi: matrix("\(name).weight_ih_\(suffix)", 4 * h, inputs), wh: matrix("\(name).weight_hh_\(suffix)", 4 * h, h),
            bi: vector("\(name).bias_ih_\(suffix)", 4 * h), bh: vector("\(name).bias_hh_\(suffix)", 4 * h))
    }

    /// Writes an adapter directory and returns its path.
    func write(into directory: TemporaryDirectory, config: String?, file: String = "adapter_model.safetensors") throws -> String {
        let path = directory.path("state")
        try FileSystem.makeDirectory(path)
        try SmallTensor.write(tensors, to: "\(path)/\(file)")
        if let config { try TestFile.write(config, to: "\(path)/adapter_config.json") }
        return path
    }
}
