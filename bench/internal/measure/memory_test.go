package measure

import (
	"runtime"
	"testing"
)

func TestParseMemory(t *testing.T) {
	got, err := parseMemory("Name:\tbench\nVmPeak:\t 1600000 kB\nVmHWM:\t  200000 kB\nVmRSS:\t  100000 kB\nRssAnon:\t 5 kB\n")
	if want := (Memory{Resident: 102.4, Peak: 204.8}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, status := range []string{"", "VmRSS:\t100 kB\n", "VmRSS:\t100 MB\nVmHWM:\t100 kB\n", "VmRSS:\tmuch\nVmHWM:\t100 kB\n"} {
		if got, err := parseMemory(status); err == nil {
			t.Errorf("%q is %+v", status, got)
		}
	}
}

func TestMemoryGrowsWithWhatIsHeld(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	before, err := ReadMemory()
	if err != nil {
		t.Fatal(err)
	}
	held := make([]byte, 64<<20)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	after, err := ReadMemory()
	runtime.KeepAlive(held)
	if err != nil || after.Resident < before.Resident+60 || after.Peak < after.Resident {
		t.Errorf("%+v, then with 64 MiB more %+v, %v", before, after, err)
	}
}
