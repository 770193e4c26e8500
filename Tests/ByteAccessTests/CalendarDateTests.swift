import ByteAccess
import Foundation
import Testing

@Suite struct CalendarDateTests {
    /// Every day of nine centuries as Foundation counts them.
    @Test func countsDaysAsFoundationDoes() throws {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = try #require(TimeZone(identifier: "UTC"))
        for days in stride(from: -140_000, through: 190_000, by: 17) {
            let parts = calendar.dateComponents(
                [.year, .month, .day], from: Date(timeIntervalSince1970: Double(days) * 86_400))
            let date = CalendarDate(daysSince1970: days)
            #expect([date.year, date.month, date.day] == [parts.year, parts.month, parts.day])
            #expect(CalendarDate(date.description) == date)
        }
    }

    @Test(arguments: ["2024-02-29", "2000-02-29", "2026-12-31", "0001-01-01", "9999-12-31"])
    func readsDays(_ text: String) { #expect(CalendarDate(text)?.description == text) }

    @Test(arguments: [
        "2023-02-29", "1900-02-29", "2026-04-31", "2026-13-01", "2026-00-10", "2026-01-00", "2026-1-1", "26-01-01", "2026-01-01T",
        "+026-01-01", "2026/01/01", "", "2026-01", "２０２６-01-01", "-2026-01-01",
    ])
    func refusesWhatIsNoDay(_ text: String) { #expect(CalendarDate(text) == nil) }

    @Test func daysAreInOrder() throws {
        let days = try ["2025-12-31", "2026-01-01", "2026-01-02", "2026-02-01"].map { try #require(CalendarDate($0)) }
        #expect(days.shuffled().sorted() == days)
        #expect(abs(Date().timeIntervalSince(try #require(ISO8601DateFormatter().date(from: "\(CalendarDate.today)T12:00:00Z")))) < 86_400)
    }
}
