import Adapters
import ByteAccess
import Checkpoints
import LinearAlgebra
import Tensors

/// Prompts computed a second time, by arithmetic that the writing does not share: OpenBLAS for products, another tanh,
/// and with every number a bound of the distance to the formula's real value.
struct PromptRecomputation {
    let checkpoint: Checkpoint
    /// The last prompt: the parts of one are asked for one after the other.
    private var known: (formula: PromptFormula, numbers: Bounded)?

    init(checkpoint: Checkpoint) { self.checkpoint = checkpoint }

    mutating func prompt(_ formula: PromptFormula) throws -> Bounded {
        let whole: Bounded
        if let known, known.formula == formula.whole { whole = known.numbers } else { whole = try computed(formula.whole) }
        known = (formula.whole, whole)
        return Bounded(values: formula.part(of: whole.values), errors: formula.part(of: whole.errors))
    }

    private func computed(_ formula: PromptFormula) throws -> Bounded {
        switch formula {
        case .columns(let whole, _, _): try computed(whole)
        case .slots(let names, let tokens, let width):
            Bounded(exact: PromptFormula.sideBySide(try names.map(numbers), tokens: tokens, width: width))
        case .stored(let name): Bounded(exact: try numbers(name))
        case .perceptron(let value):
            try stack(
                value.layers, value.activation, on: Bounded(exact: try numbers(value.embedding)), tokens: value.tokens)
        case .recurrent(let value): try recurrent(value)
        case .task(let value): try task(value)
        }
    }

    private func numbers(_ name: ExactString) throws -> [Double] {
        guard let tensor = checkpoint[name] else {
            throw PeftfileError(.malformed, "is not in the file", tensor: name)
        }
        return try Conversion.widened(
            try checkpoint.read(tensor), as: tensor.dtype, count: tensor.info.elementCount)
    }

    // MARK: Linear layers

    /// W·x + b for every row x, by panels of W's rows:
    ///
    ///     e ≤ |W|·e_x + γ(in + 4)·(|W|·(|x| + e_x) + |b|)
    ///
    /// whatever the order of summation (Higham, section 3.5).
    private func linear(
        _ weight: ExactString, bias: [Double], inputs: Int, outputs: Int, _ x: Bounded, tokens: Int
    ) throws -> Bounded {
        guard let tensor = checkpoint[weight] else {
            throw PeftfileError(.malformed, "is not in the file", tensor: weight)
        }
        let gamma = Bounded.gamma(inputs + 4)
        let sizes = zip(x.values, x.errors).map { $0.magnitude + $1 }
        let isExact = x.errors.allSatisfy { $0 == 0 }
        var result = Bounded(exact: [Double](repeating: 0, count: tokens * outputs))
        let step = max(1, min(outputs, (1 << 20) / inputs))
        let rowBytes = tensor.byteCount / UInt64(outputs)
        for first in stride(from: 0, to: outputs, by: step) {
            try Interruption.check()
            let count = min(step, outputs - first)
            let bytes = try checkpoint.read(
                tensor, bytes: UInt64(first) * rowBytes..<UInt64(first + count) * rowBytes)
            let w = try Conversion.widened(bytes, as: tensor.dtype, count: count * inputs)
            let magnitudes = w.map(\.magnitude)
            func product(_ left: [Double], _ right: [Double]) throws -> [Double] {
                try BLAS.product(left, right, rows: tokens, columns: count, depth: inputs, transposeB: true)
            }
            let values = try product(x.values, w)
            let scales = try product(sizes, magnitudes)
            let carried = isExact ? nil : try product(x.errors, magnitudes)
            for t in 0..<tokens {
                for j in 0..<count {
                    let (from, to) = (t * count + j, t * outputs + first + j)
                    let b = bias[first + j]
                    result.values[to] = values[from] + b
                    result.errors[to] = (carried?[from] ?? 0) + gamma * (scales[from] + b.magnitude)
                }
            }
        }
        return result
    }

    private func stack(
        _ layers: [PromptLayer], _ activation: PromptActivation, on input: Bounded, tokens: Int
    ) throws -> Bounded {
        var x = input
        for (index, layer) in layers.enumerated() {
            if index > 0 { x = PromptRecomputation.apply(activation, to: x) }
            x = try linear(
                layer.weight, bias: try numbers(layer.bias), inputs: layer.inputs, outputs: layer.outputs, x,
                tokens: tokens)
        }
        return x
    }

    // MARK: LSTM

    private func recurrent(_ value: PromptRecurrence) throws -> Bounded {
        var x = Bounded(exact: try numbers(value.embedding))
        let (n, h) = (value.tokens, value.hidden)
        for layer in value.layers {
            let forward = try states(layer.forward, layer.inputs, h, x, order: Array(0..<n))
            let reverse = try states(layer.reverse, layer.inputs, h, x, order: (0..<n).reversed())
            var joined = Bounded(values: [], errors: [])
            for t in 0..<n {
                for side in [forward, reverse] {
                    joined.values += side.values[t * h..<(t + 1) * h]
                    joined.errors += side.errors[t * h..<(t + 1) * h]
                }
            }
            x = joined
        }
        return try stack(value.head, .relu, on: x, tokens: n)
    }

    /// The hidden states of one direction, laid down by token; `order` is the order in which tokens are read.
    private func states(
        _ direction: PromptRecurrence.Direction, _ inputs: Int, _ h: Int, _ x: Bounded, order: [Int]
    ) throws -> Bounded {
        let n = order.count
        let fromInput = try linear(
            direction.inputWeight, bias: try numbers(direction.inputBias), inputs: inputs, outputs: 4 * h, x, tokens: n)
        let hiddenBias = try numbers(direction.hiddenBias)
        var result = Bounded(exact: [Double](repeating: 0, count: n * h))
        var hidden = Bounded(exact: [Double](repeating: 0, count: h))
        var cell = [BoundedNumber](repeating: BoundedNumber(value: 0, error: 0), count: h)
        for t in order {
            let fromHidden = try linear(
                direction.hiddenWeight, bias: hiddenBias, inputs: h, outputs: 4 * h, hidden, tokens: 1)
            func gate(_ number: Int, _ j: Int) -> BoundedNumber {
                let row = number * h + j
                // Which biases are added first differs between the two paths: one more unit of every summand.
                let (a, b) = (fromInput.values[t * 4 * h + row], fromHidden.values[row])
                return BoundedNumber(
                    value: a + b,
                    error: fromInput.errors[t * 4 * h + row] + fromHidden.errors[row]
                        + 4 * Bounded.unit * (a.magnitude + b.magnitude + hiddenBias[row].magnitude))
            }
            for j in 0..<h {
                cell[j] = gate(1, j).sigmoid * cell[j] + gate(0, j).sigmoid * gate(2, j).tanh
                let output = gate(3, j).sigmoid * cell[j].tanh
                result.values[t * h + j] = output.value
                result.errors[t * h + j] = output.error
            }
            for j in 0..<h {
                hidden.values[j] = result.values[t * h + j]
                hidden.errors[j] = result.errors[t * h + j]
            }
        }
        return result
    }

    // MARK: Tasks

    private func task(_ value: TaskPrompt) throws -> Bounded {
        let embedding = try numbers(value.embedding)
        let (n, r, d) = (value.tokens, value.ranks, value.width)
        let columns = Array(try numbers(value.columns)[value.task * n * r..<(value.task + 1) * n * r])
        let rows = Array(try numbers(value.rows)[value.task * r * d..<(value.task + 1) * r * d])
        let factors = try BLAS.product(columns, rows, rows: n, columns: d, depth: r)
        let sizes = try BLAS.product(columns.map(\.magnitude), rows.map(\.magnitude), rows: n, columns: d, depth: r)
        let values = zip(embedding, factors).map { $0 * $1 }
        let gamma = Bounded.gamma(r + 4)
        return Bounded(values: values, errors: zip(embedding, sizes).map { gamma * $0.magnitude * $1 })
    }
}
