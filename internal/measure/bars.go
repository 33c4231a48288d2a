package measure

import (
	"fmt"
	"os"
	"path/filepath"
	"unicode/utf8"
)

// The walks whose files are counted, as the page calls them.
const (
	expressWalk = "Express send"
	tracedWalk  = "Traced send"
)

// measured is what a bar is measured on.
type measured struct {
	files []File
	walks []Walk
}

// Bar is one figure of the repository, beside what it was and what it should be.
type Bar struct {
	Name   string
	Before float64 // what it was before the code was put into rooms
	AtMost float64 // noBar: a figure to look at
	Kept   bool    // the page calls it met, and a test fails when that is no longer true
	Format func(float64) string
	Value  float64
	Detail string // what the value is about, such as the largest folder's name

	measure func(measured) (value float64, detail string, err error)
}

const noBar = -1

// bars are all figures. A bar that is reached is to be kept: set Kept then.
var bars = []Bar{
	{Name: "largest folder, files that are not tests", Before: 103, AtMost: 22, Format: whole, measure: largestFolder},
	{Name: "files crossed by a Traced send", Before: 19, AtMost: 25, Kept: true, Format: whole,
		measure: crossed(tracedWalk)},
	{Name: "files crossed by an Express send until its receipt", Before: 11, AtMost: 10, Format: whole,
		measure: crossed(expressWalk)},
	{Name: "exported names in the packages for users", Before: 390, AtMost: noBar, Format: whole,
		measure: exported(forUsers)},
	{Name: "exported names in the other packages that are not internal", Before: 537, AtMost: noBar, Format: whole,
		measure: exported(forSiblings)},
	{Name: "lines over 120 characters, without tests", Before: 1103, AtMost: 0, Kept: true, Format: whole,
		measure: longLines},
	{Name: "lines of Go without tests, benchmark and examples", Before: 63869, AtMost: 43000, Format: whole,
		measure: lines},
	{Name: "lines that also stand elsewhere", Before: 0.003, AtMost: 0.005, Kept: true, Format: percent,
		measure: repeated},
}

// Met reports whether the value is within the bar.
func (b Bar) Met() bool { return b.AtMost == noBar || b.Value <= b.AtMost }

// Measure returns all figures of the repository at root.
func Measure(root string) ([]Bar, error) {
	files, err := Files(root)
	if err != nil {
		return nil, err
	}
	page, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(Page)))
	if err != nil {
		return nil, err
	}
	on := measured{files, Walks(string(page))}
	all := make([]Bar, len(bars))
	for i, b := range bars {
		all[i] = b
		if all[i].Value, all[i].Detail, err = b.measure(on); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// largestFolder is that with the most files that are not tests.
func largestFolder(on measured) (most float64, dir string, _ error) {
	count := map[string]float64{}
	for _, f := range on.files {
		if f.Test() {
			continue
		}
		if count[f.Dir()]++; count[f.Dir()] > most {
			dir, most = f.Dir(), count[f.Dir()]
		}
	}
	return most, dir, nil
}

func crossed(walk string) func(measured) (float64, string, error) {
	return func(on measured) (float64, string, error) {
		n := Crossed(on.walks, walk)
		if n == 0 {
			return 0, "", fmt.Errorf("%s has no walk %q", Page, walk)
		}
		return float64(n), "", nil
	}
}

func exported(whose func(dir string) bool) func(measured) (float64, string, error) {
	return func(on measured) (float64, string, error) {
		n, err := Exported(on.files, whose)
		return float64(n), "", err
	}
}

// maxLine is how many characters a line may have; a tab is one.
const maxLine = 120

func longLines(on measured) (n float64, _ string, _ error) {
	for _, f := range on.files {
		if f.Test() {
			continue
		}
		for _, line := range f.Lines() {
			if utf8.RuneCountInString(line) > maxLine {
				n++
			}
		}
	}
	return n, "", nil
}

func lines(on measured) (n float64, _ string, _ error) {
	for _, f := range product(on.files) {
		n += float64(len(f.Lines()))
	}
	return n, "", nil
}

func repeated(on measured) (float64, string, error) {
	return Repeated(product(on.files)), "", nil
}

// product are the files that make up the library and its programs: no tests, and nothing
// that stands aside.
func product(files []File) []File {
	var all []File
	for _, f := range files {
		if !f.Test() && !f.Aside() {
			all = append(all, f)
		}
	}
	return all
}
