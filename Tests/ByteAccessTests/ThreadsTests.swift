import Testing

@testable import ByteAccess

@Suite struct ThreadsTests {
    @Test(arguments: [1, 2, 7, 64])
    func everyIndexIsVisitedOnce(jobs: Int) throws {
        let visits = Mutex([Int](repeating: 0, count: 1000))
        try parallelForEach(count: 1000, jobs: jobs) { index in visits.withLock { $0[index] += 1 } }
        #expect(visits.withLock { $0.allSatisfy { $0 == 1 } })
        try parallelForEach(count: 0, jobs: jobs) { _ in #expect(Bool(false)) }
    }

    @Test func theLowestFailureIsThrownOnEveryRun() throws {
        for _ in 0..<200 {
            let error = #expect(throws: PeftfileError.self) {
                try parallelForEach(count: 100, jobs: 8) { index in
                    if index >= 10, index % 3 == 1 { throw PeftfileError(.refused, "\(index)") }
                }
            }
            #expect(error?.message == "10")
        }
    }

    @Test func coresAreCounted() {
        #expect(Machine.availableCores >= 1)
        #expect(ControlGroup.cpuMax("200000 100000\n") == 2)
        #expect(ControlGroup.cpuMax("150000 100000") == 2)
        #expect(ControlGroup.cpuMax("50000 100000") == 1)
        #expect(ControlGroup.cpuMax("max 100000") == nil)
        #expect(ControlGroup.cpuMax("") == nil)
        #expect(ControlGroup.quota("-1\n", "100000\n") == nil)
        #expect(ControlGroup.quota("400000\n", "100000\n") == 4)
    }
}

@Suite struct TurnstileTests {
    @Test func threadsPassInTheOrderOfTheirIndices() throws {
        let turnstile = Turnstile()
        let order = Mutex<[Int]>([])
        try parallelForEach(count: 200, jobs: 8) { index in
            try turnstile.pass(index) { order.withLock { $0.append(index) } }
        }
        #expect(order.withLock { $0 } == Array(0..<200))
    }

    @Test func theFirstFailureReachesEveryoneWhoWaits() {
        let turnstile = Turnstile()
        let error = #expect(throws: PeftfileError.self) {
            try parallelForEach(count: 100, jobs: 4) { index in
                if index == 37 {
                    let failure = PeftfileError(.io, "thirty-seven")
                    turnstile.cancel(failure)
                    throw failure
                }
                try turnstile.pass(index) {}
            }
        }
        #expect(error?.message == "thirty-seven")
    }
}
