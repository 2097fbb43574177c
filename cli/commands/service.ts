// `daypass service`: the registered services.
import { Command } from 'commander';
import type { Context } from '../context.ts';
import { serviceCreateCommand } from './service-create.ts';
import { serviceDeleteCommand } from './service-delete.ts';
import { serviceOperationsCommand } from './service-operations.ts';
import { serviceGetCommand, serviceListCommand } from './service-read.ts';
import { serviceScopeCommand } from './service-scope.ts';
import { serviceUpdateCommand } from './service-update.ts';

/** The command and its subcommands. */
export const serviceCommand = (context: Context): Command => {
  const command = new Command('service').description('the registered services: HTTP APIs behind the proxy');
  const children = [
    serviceCreateCommand,
    serviceListCommand,
    serviceGetCommand,
    serviceOperationsCommand,
    serviceUpdateCommand,
    serviceScopeCommand,
    serviceDeleteCommand,
  ];
  for (const make of children) command.addCommand(make(context));
  return command;
};
