.PHONY: demo test build

build:
	swift build -c release --static-swift-stdlib --product peftfile
