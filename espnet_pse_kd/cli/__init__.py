"""The console command ``pse-kd``, one module per subcommand.

A module has ``DESCRIPTION``, ``add_arguments(parser)`` and ``run(args)``. None imports
torch or ESPnet at its top: those who only enhance need not have them.
"""
