package process

import (
	"os/exec"
	"syscall"
)

// dieWithParent sends the command sig when the thread that starts it ends. The
// caller sees to it that this thread lives as long as the process (see Spawner).
func dieWithParent(cmd *exec.Cmd, sig syscall.Signal) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = sig
}
