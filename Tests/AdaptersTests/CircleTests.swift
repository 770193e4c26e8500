import Testing

@testable import Adapters

/// The tables and functions that the random methods bring along, against identities that they must obey and against
/// numbers of arbitrary precision (mpmath, 200 digits).
@Suite struct CircleTests {
    @Test func exactPlaces() {
        #expect(CircleTable.cosines(8)[2] == 0 && CircleTable.cosines(8)[4] == -1 && CircleTable.cosines(8)[6] == 0)
        #expect(CircleTable.sines(8)[0] == 0 && CircleTable.sines(8)[2] == 1 && CircleTable.sines(8)[6] == -1)
        #expect(CircleTable.sines(12)[1] == 0.5 && CircleTable.cosines(12)[2] == 0.5 && CircleTable.cosines(3)[1] == -0.5)
        #expect(CircleTable.cosines(1) == [1] && CircleTable.sines(1) == [0] && CircleTable.cosines(0).isEmpty)
    }

    @Test func correctlyRounded() {
        // cos(2π·5/4096), sin(2π·1/999), cos(2π·3/7), sin(2π·1234/11008).
        #expect(CircleTable.cosines(4096)[1] == 0.9999988234517019)
        #expect(CircleTable.sines(999)[1] == 0.0062894333160677515)
        #expect(CircleTable.cosines(7)[3] == -0.9009688679024191)
        #expect(CircleTable.sines(11008)[1] == 0.0005707835179877416)
    }

    @Test(arguments: [5, 24, 97, 1024, 999]) func reflectionsAreTheSameNumbers(_ count: Int) {
        let (cosines, sines) = (CircleTable.cosines(count), CircleTable.sines(count))
        for part in 1..<count {
            #expect(cosines[part] == cosines[count - part])
            #expect(sines[part] == -sines[count - part])
            #expect((cosines[part] * cosines[part] + sines[part] * sines[part] - 1).magnitude < 0x1p-51)
        }
    }

    @Test func logarithmsAndCircularFunctions() {
        // Python: math.log, math.sin, math.cos, correctly rounded here.
        #expect(DoubleFunctions.logarithm(1) == 0)
        #expect((DoubleFunctions.logarithm(0.1) / -2.302585092994046 - 1).magnitude < 0x1p-51)
        #expect((DoubleFunctions.logarithm(1e-300) / -690.7755278982137 - 1).magnitude < 0x1p-51)
        #expect(DoubleFunctions.sine(1) == 0.8414709848078965 && DoubleFunctions.cosine(1) == 0.5403023058681398)
        #expect(DoubleFunctions.sine(6) == -0.27941549819892586 && DoubleFunctions.cosine(4) == -0.6536436208636119)
    }

    /// An orthonormal filter bank: Σ h = √2, Σ h[i]·h[i + 2m] = 1 for m = 0 and else 0, low against high 0.
    @Test(arguments: [
        "haar", "db1", "db2", "db3", "db4", "db5", "db6", "db7", "db8", "db9", "db10", "sym2", "sym3", "sym4", "sym5", "sym6",
        "sym7", "sym8", "sym9", "sym10", "coif1", "coif2", "coif3",
    ]) func waveletsAreOrthonormal(_ name: String) throws {
        let low = try #require(Wavelets.lowPass(name))
        let high = Wavelets.highPass(low)
        #expect((low.reduce(0, +) - 2.0.squareRoot()).magnitude < 1e-9)
        for shift in stride(from: 0, to: low.count, by: 2) {
            func inner(_ a: [Double], _ b: [Double]) -> Double {
                zip(a.dropFirst(shift), b).reduce(0) { $0 + $1.0 * $1.1 }
            }
            #expect((inner(low, low) - (shift == 0 ? 1 : 0)).magnitude < 1e-9)
            #expect((inner(high, high) - (shift == 0 ? 1 : 0)).magnitude < 1e-9)
            #expect(inner(low, high).magnitude < 1e-9 && inner(high, low).magnitude < 1e-9)
        }
        #expect(Wavelets.lowPass("db11") == nil)
    }
}
