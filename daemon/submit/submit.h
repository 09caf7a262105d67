/* submit -- taskd-submit in local mode: driver and executor in one process, without gRPC. */
#ifndef SUBMIT_SUBMIT_H
#define SUBMIT_SUBMIT_H

/* The whole program; returns the exit status. */
int submit_main(int argc, char **argv, char **envp);
#endif
