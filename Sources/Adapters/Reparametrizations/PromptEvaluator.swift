import ByteAccess
public import Checkpoints
import Tensors

/// Computes prompts in float64, every sum in the order that its formula states: the numbers that are written.
///
/// Large weights are read in panels of rows, so memory stays in proportion to the prompt and not to the encoder.
public struct PromptEvaluator: Sendable {
    private let checkpoint: Checkpoint
    private let jobs: Int

    /// An evaluator that reads the encoder's tensors from a checkpoint, with `jobs` threads.
    public init(checkpoint: Checkpoint, jobs: Int) {
        self.checkpoint = checkpoint
        self.jobs = jobs
    }

    /// The prompt, row by row, before it is rounded.
    ///
    /// - Throws: `.malformed` with rule `PromptTensorMissing` where the file lacks a tensor of the formula; `.unsupported` for C64;
    ///   `.interrupted` where a signal came while layers were computed; and what reading throws.
    public func values(of formula: PromptFormula) throws -> [Double] {
        switch formula {
        case .stored(let name): try numbers(name)
        case .slots(let names, let tokens, let width):
            PromptFormula.sideBySide(try names.map(numbers), tokens: tokens, width: width)
        case .columns(let whole, _, _): formula.part(of: try values(of: whole))
        case .perceptron(let value): try perceptron(value)
        case .recurrent(let value): try recurrent(value)
        case .task(let value): try task(value)
        }
    }

    /// All elements of a tensor, widened.
    func numbers(_ name: ExactString) throws -> [Double] {
        let tensor = try stored(name)
        return try Conversion.widened(
            try checkpoint.read(tensor), as: tensor.dtype, count: tensor.info.elementCount)
    }

    private func stored(_ name: ExactString) throws -> StoredTensor {
        guard let tensor = checkpoint[name] else {
            throw PeftfileError(.malformed, "is not in the file", tensor: name, rule: "PromptTensorMissing")
        }
        return tensor
    }

    // MARK: Layers

    /// Elements of a weight that are widened at a time: 2^20 float64 numbers are 8 MiB.
    public static let panel = 1 << 20

    /// Adds x·Wᵀ to `start`: `start[t, j] + fma chain over k of x[t, k]·W[j, k]`.
    private func add(
        _ weight: ExactString, outputs: Int, inputs: Int, to start: [Double], from x: [Double], tokens: Int
    ) throws -> [Double] {
        let tensor = try stored(weight)
        let step = max(1, min(outputs, PromptEvaluator.panel / max(1, inputs)))
        let rowBytes = tensor.byteCount / UInt64(outputs)
        let result = Mutex(start)
        try parallelForEach(count: (outputs + step - 1) / step, jobs: jobs) { index in
            try Interruption.check()
            let rows = index * step..<min(outputs, (index + 1) * step)
            let bytes = try checkpoint.read(
                tensor, bytes: UInt64(rows.lowerBound) * rowBytes..<UInt64(rows.upperBound) * rowBytes)
            let w = try Conversion.widened(bytes, as: tensor.dtype, count: rows.count * inputs)
            var turned = [Double](repeating: 0, count: w.count)
            w.withUnsafeBufferPointer { w in
                turned.withUnsafeMutableBufferPointer {
                    Kernels.transpose(w, rows: rows.count, columns: inputs, into: $0)
                }
            }
            var part = [Double](repeating: 0, count: tokens * rows.count)
            for t in 0..<tokens {
                for j in rows { part[t * rows.count + j - rows.lowerBound] = start[t * outputs + j] }
            }
            x.withUnsafeBufferPointer { x in
                turned.withUnsafeBufferPointer { turned in
                    part.withUnsafeMutableBufferPointer { part in
                        Kernels.addLowRank(
                            left: x, right: turned, rows: tokens, rank: inputs, columns: rows.count, scale: 1,
                            into: part, rowStride: rows.count)
                    }
                }
            }
            let finished = part
            result.withLock { result in
                for t in 0..<tokens {
                    for j in rows { result[t * outputs + j] = finished[t * rows.count + j - rows.lowerBound] }
                }
            }
        }
        return result.withLock { $0 }
    }

    private func layer(_ layer: PromptLayer, _ x: [Double], tokens: Int) throws -> [Double] {
        let bias = try numbers(layer.bias)
        var start: [Double] = []
        start.reserveCapacity(tokens * layer.outputs)
        for _ in 0..<tokens { start += bias }
        return try add(layer.weight, outputs: layer.outputs, inputs: layer.inputs, to: start, from: x, tokens: tokens)
    }

    private func sequence(
        _ layers: [PromptLayer], _ activation: PromptActivation, _ x: [Double], tokens: Int
    ) throws -> [Double] {
        var x = x
        for (index, layer) in layers.enumerated() {
            if index > 0 { x = x.map(activation.apply) }
            x = try self.layer(layer, x, tokens: tokens)
        }
        return x
    }

    // MARK: Formulas

    private func perceptron(_ value: PromptPerceptron) throws -> [Double] {
        try sequence(value.layers, value.activation, try numbers(value.embedding), tokens: value.tokens)
    }

    private func recurrent(_ value: PromptRecurrence) throws -> [Double] {
        var x = try numbers(value.embedding)
        let (n, h) = (value.tokens, value.hidden)
        for layer in value.layers {
            var output = [Double](repeating: 0, count: n * 2 * h)
            for (side, direction) in [layer.forward, layer.reverse].enumerated() {
                try Interruption.check()
                let states = try run(direction, inputs: layer.inputs, hidden: h, x, tokens: n, reversed: side == 1)
                for t in 0..<n { for j in 0..<h { output[t * 2 * h + side * h + j] = states[t * h + j] } }
            }
            x = output
        }
        return try sequence(value.head, .relu, x, tokens: n)
    }

    /// The hidden states of one direction, by token.
    private func run(
        _ direction: PromptRecurrence.Direction, inputs: Int, hidden h: Int, _ x: [Double], tokens: Int, reversed: Bool
    ) throws -> [Double] {
        let bias = zip(try numbers(direction.inputBias), try numbers(direction.hiddenBias)).map { $0 + $1 }
        let gates = try add(
            direction.inputWeight, outputs: 4 * h, inputs: inputs,
            to: (0..<tokens).flatMap { _ in bias }, from: x, tokens: tokens)
        let weight = try numbers(direction.hiddenWeight)
        var states = [Double](repeating: 0, count: tokens * h)
        var (hidden, cell) = ([Double](repeating: 0, count: h), [Double](repeating: 0, count: h))
        for step in 0..<tokens {
            let t = reversed ? tokens - 1 - step : step
            var p = Array(gates[t * 4 * h..<(t + 1) * 4 * h])
            for row in 0..<4 * h {
                var sum = 0.0
                for k in 0..<h { sum = hidden[k].addingProduct(into: sum, weight[row * h + k]) }
                p[row] += sum
            }
            for j in 0..<h {
                let kept = Elementary.sigmoid(p[h + j]) * cell[j]
                let added = Elementary.sigmoid(p[j]) * Elementary.tanh(p[2 * h + j])
                cell[j] = kept + added
                hidden[j] = Elementary.sigmoid(p[3 * h + j]) * Elementary.tanh(cell[j])
                states[t * h + j] = hidden[j]
            }
        }
        return states
    }

    private func task(_ value: TaskPrompt) throws -> [Double] {
        var result = try numbers(value.embedding)
        let (columns, rows) = (try numbers(value.columns), try numbers(value.rows))
        let (n, r, d) = (value.tokens, value.ranks, value.width)
        for t in 0..<n {
            for j in 0..<d {
                var factor = 0.0
                for k in 0..<r {
                    factor = columns[(value.task * n + t) * r + k].addingProduct(into: factor, rows[(value.task * r + k) * d + j])
                }
                result[t * d + j] *= factor
            }
        }
        return result
    }
}

extension Double {
    /// fma(self, factor, sum).
    fileprivate func addingProduct(into sum: Double, _ factor: Double) -> Double { sum.addingProduct(self, factor) }
}
