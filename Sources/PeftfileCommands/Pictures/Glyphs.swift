/// The signs that pictures in the terminal are made of: blocks, or ASCII where the locale is not UTF-8.
struct Glyphs {
    let isUnicode: Bool

    /// As the locale has it: of LC_ALL, LC_CTYPE and LANG the first that is set decides.
    init() {
        let locale = Console.environment("LC_ALL") ?? Console.environment("LC_CTYPE") ?? Console.environment("LANG") ?? ""
        let name = locale.lowercased()
        isUnicode = name.contains("utf-8") || name.contains("utf8")
    }

    /// Eight steps, low to high.
    var levels: [Character] { Array(isUnicode ? "▁▂▃▄▅▆▇█" : ".:-=+*#@") }
    var zero: Character { isUnicode ? "·" : "0" }
    var updateNorm: String { isUnicode ? "‖ΔW‖" : "|dW|" }
    var relativeUpdate: String { isUnicode ? "‖ΔW‖/‖W‖" : "|dW|/|W|" }
    var baseNorm: String { isUnicode ? "‖W‖" : "|W|" }
    var largestValue: String { isUnicode ? "σ₁" : "s1" }

    /// Singular values as a row of blocks, relative to the largest; more than `width` of them share places, where the larger
    /// is shown.
    func sparkline(_ relative: [Double], width: Int = 16) -> String {
        let count = min(width, relative.count)
        return String(
            (0..<count).map { place in
                let value = relative[place * relative.count / count]
                return value > 0 ? levels[min(7, Int(value * 8))] : zero
            })
    }
}
