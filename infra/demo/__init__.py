"""The real daemons that the demo and the tests run against: an HTCondor pool, an S3 server, a Slurm."""
