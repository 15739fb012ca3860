#!/bin/bash
# A real Slurm of one node, from Debian's packages, on this machine: a run of two processes goes through undisturbed, and
# once more in a partition where another job preempts it. Both must leave the same bits. Needs root, since it starts
# Slurm's daemons; they end with this script.
#
#   apt-get install slurmctld slurmd slurm-client munge && make test-slurm
set -euo pipefail
python=${1:?usage: one_node_slurm.sh PYTHON}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
missing=()
for program in munged slurmctld slurmd sbatch srun scontrol; do command -v "$program" > /dev/null || missing+=("$program"); done
if [ "${#missing[@]}" -gt 0 ]; then
  echo "missing: ${missing[*]}; apt-get install slurmctld slurmd slurm-client munge" >&2
  exit 1
fi
work=$(mktemp -d)
daemons=()
finish() {
  scancel --user root 2> /dev/null || true
  for daemon in "${daemons[@]}"; do kill "$daemon" 2> /dev/null || true; done
  wait
  if [ -z "${KEEP:-}" ]; then rm -rf "$work"; else echo "kept $work"; fi
}
trap finish EXIT

host=$(hostname -s)
export SLURM_CONF=$work/slurm.conf
cat > "$SLURM_CONF" << CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CryptoType=crypto/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=60
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=free Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=120
PartitionName=urgent Nodes=$host MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
CONF
mkdir -p "$work"/{state,spool,munge}
chmod 711 "$work" "$work/munge"
head -c 1024 /dev/urandom > "$work/munge/key" && chmod 400 "$work/munge/key"
munged --foreground --force --socket "$work/munge/socket" --key-file "$work/munge/key" --pid-file "$work/munge/pid" \
  --log-file "$work/munge/log" --seed-file "$work/munge/seed" &
daemons+=($!)
slurmctld -D > /dev/null 2>&1 &
daemons+=($!)
slurmd -D -N "$host" > /dev/null 2>&1 &
daemons+=($!)
for _ in $(seq 60); do
  if sinfo --noheader --format=%T 2> /dev/null | grep --quiet idle; then break; fi
  sleep 1
done
sinfo

cd "$top"
# Each run is compiled for itself: the second may not owe its bits to the first one's programs.
launch() {
  JAX_COMPILATION_CACHE_DIR=$work/cache-$1 "$python" -m launch slurm experiments/r1_miniature.gin \
    'run.stages=(zero,)' run.cpu_devices=2 run.checkpoint_every=4 zero.steps=24 --name "$1" --dirty --detach --folder "$work/launch" \
    --out "$work/$1" --tasks-per-node 2 --cpu-devices 1 --partition free --time 60
}
ended() { [ -z "$(squeue --noheader --name "$1")" ]; }
await() {
  for _ in $(seq 900); do
    if "$@"; then return; fi
    sleep 0.5
  done
  tail -50 "$work"/launch/*/*.log
  echo "waited in vain for: $*" >&2
  exit 1
}

launch undisturbed
await ended undisturbed
launch preempted
in_the_middle() { compgen -G "$work/preempted/artifacts/.zero*/checkpoints/step_*8" > /dev/null; }
await in_the_middle
sbatch --parsable --partition urgent --job-name urgent --ntasks 2 --output /dev/null --wrap "sleep 2"
preempted() { grep --quiet "after saving" "$work/launch/preempted/preempted.log"; }
await preempted
await ended preempted
echo "--- the log of the preempted run"
cat "$work/launch/preempted/preempted.log"
grep --quiet "results are in" "$work/launch/preempted/preempted.log"
PYTHONPATH=$top "$python" tests/support/same_results.py "$work/undisturbed" "$work/preempted"
echo "preempted and requeued once, and the same bits"
